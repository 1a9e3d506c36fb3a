//! The parser of the command line, without a process: what is right, and that nothing makes it panic.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::drivers::{Format, Spec};

fn parse(line: &[&str]) -> Result<Action, Failure> {
    Action::parse(&mut Arguments::new(lexopt::Parser::from_args(line)))
}

#[test]
fn what_is_right_becomes_an_action() {
    use quarantine::{Quarantine, Rows};
    for (line, action) in [
        ("check", Action::Check(check::Check { is_strict: false })),
        ("check --strict", Action::Check(check::Check { is_strict: true })),
        ("export -c x", Action::Export),
        ("quarantine", Action::Quarantine(Quarantine::List)),
        ("quarantine list", Action::Quarantine(Quarantine::List)),
        ("quarantine drop", Action::Quarantine(Quarantine::Drop(Rows::All))),
        ("quarantine retry 7", Action::Quarantine(Quarantine::Retry(Rows::Numbers(vec![7])))),
        ("quarantine drop 5 6 5", Action::Quarantine(Quarantine::Drop(Rows::Numbers(vec![5, 6])))),
        ("quarantine 5 drop 6", Action::Quarantine(Quarantine::Drop(Rows::Numbers(vec![5, 6])))),
        (
            "card-reader /dev/ttyS1 --again=9 --hex --baud 9600 --status 1",
            Action::CardReader(settings::CardReader {
                device: "/dev/ttyS1".into(),
                again: Duration::from_secs(9),
                format: Format::Hex,
                status: 1,
                baud: Some(9600),
            }),
        ),
        (
            "relay --alarm 18 gpiochip0:17 --active-low --pulse 10",
            Action::Relay(settings::Relay {
                door: Spec::Gpio("/dev/gpiochip0".into(), 17),
                alarm: Some(Spec::Gpio("/dev/gpiochip0".into(), 18)),
                pulse: Duration::from_millis(10),
                active_low: true,
            }),
        ),
        (
            "card-reader /dev/ttyS1",
            Action::CardReader(settings::CardReader {
                device: "/dev/ttyS1".into(),
                again: Duration::from_secs(3),
                format: Format::Auto,
                status: 0,
                baud: None,
            }),
        ),
        (
            "relay file:/door",
            Action::Relay(settings::Relay {
                door: Spec::File("/door".into()),
                alarm: None,
                pulse: Duration::from_secs(3),
                active_low: false,
            }),
        ),
        ("help", Action::Help(None)),
        ("--help", Action::Help(None)),
        ("help relay", Action::Help(Some(Command::Relay))),
        ("relay -h", Action::Help(Some(Command::Relay))),
        ("-V", Action::Version),
        ("status --version", Action::Version),
    ] {
        let line: Vec<&str> = line.split(' ').collect();
        assert_eq!(parse(&line).unwrap(), action, "{line:?}");
    }
}

#[test]
fn the_options_of_every_command_stand_anywhere() {
    for line in [
        &["-c", "a", "-v", "status", "--json"][..],
        &["status", "-vca", "--json"],
        &["status", "--json", "--config=a", "--verbose"],
    ] {
        let mut arguments = Arguments::new(lexopt::Parser::from_args(line));
        let parsed = Action::parse(&mut arguments);
        assert!(matches!(parsed, Ok(Action::Status(_))), "{line:?}");
        assert_eq!(
            (arguments.config.as_deref(), arguments.verbose),
            (Some(Path::new("a")), true),
            "{line:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_command_line_makes_the_parser_panic(
        command in proptest::option::of(proptest::sample::select(&Command::ALL[..])),
        arguments in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "--pin", "--status", "--time=", "--baud", "--alarm", "--pulse", "--json=x", "-c", "-vh",
                    "--", "-", "5", "-5", "drop", "list", "gpiochip0:17", "gpiochip0:", ":", "file:", "",
                    "18446744073709551616", "--hex", "--again=3", "-=", "--=",
                ]).prop_map(|argument| argument.as_bytes().to_vec()),
                proptest::collection::vec(any::<u8>(), 0..6),
            ],
            0..6,
        ),
    ) {
        use std::os::unix::ffi::OsStringExt;
        let arguments = arguments.into_iter().map(std::ffi::OsString::from_vec);
        let line = command.iter().map(|command| command.page().name.into()).chain(arguments);
        if let Err(failure) = Action::parse(&mut Arguments::new(lexopt::Parser::from_args(line))) {
            prop_assert_eq!(failure.exit, Exit::Usage);
            prop_assert!(failure.message.contains("; see punchd "), "{}", failure.message);
        }
    }
}
