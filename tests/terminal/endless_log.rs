//! What a driver does without end does not fill the log.

use serde_json::json;

use crate::harness::{Driver, Terminal, terminal_alone};

/// The lines of the log with this text.
fn lines(terminal: &Terminal, text: &str) -> Vec<String> {
    terminal.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

fn register(driver: &mut Driver, name: &str, provides: &[&str]) {
    driver.call("register", json!({"name": name, "provides": provides})).unwrap();
}

#[test]
fn a_driver_that_registers_again_on_its_connection_is_logged_once() {
    let terminal = terminal_alone();
    let mut driver = terminal.driver();
    for _ in 0..500 {
        register(&mut driver, "eager", &["unlock"]);
    }
    register(&mut driver, "renamed", &["unlock"]);
    assert_eq!(lines(&terminal, "driver eager").len(), 1, "{}", terminal.log());
    assert_eq!(lines(&terminal, "driver renamed registered").len(), 1, "{}", terminal.log());
}

#[test]
fn a_driver_that_connects_again_and_again_is_logged_a_few_times_and_others_still_are() {
    let terminal = terminal_alone();
    for _ in 0..300 {
        register(&mut terminal.driver(), "restless", &[]);
    }
    let mut calm = terminal.driver();
    register(&mut calm, "calm", &[]);
    let seen = lines(&terminal, "driver restless");
    assert!((6..=10).contains(&seen.len()), "{seen:#?}");
    let told = lines(&terminal, "driver restless registered");
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(told[4].contains("connects again and again"), "{told:#?}");
    assert_eq!(lines(&terminal, "driver calm registered").len(), 1);
}

#[test]
fn lines_that_drivers_cause_in_turn_are_left_out_after_a_hundred() {
    let terminal = terminal_alone();
    let mut drivers = [terminal.driver(), terminal.driver()];
    for _ in 0..200 {
        register(&mut drivers[0], "left", &["unlock"]);
        register(&mut drivers[1], "right", &["unlock"]);
    }
    // Names without end are no way out.
    for nth in 0..200 {
        register(&mut drivers[0], &format!("name-{nth}"), &[]);
        let service = json!({"name": "other", "provides": [format!("service-{nth}")]});
        terminal.driver().call("register", service).unwrap_err();
    }
    assert_eq!(lines(&terminal, "two drivers provide unlock").len(), 100);
    assert_eq!(lines(&terminal, "register is refused: provides").len(), 100);
    assert!(lines(&terminal, "driver name-").len() <= 100, "{}", terminal.log());
    let notices = lines(&terminal, "further ones are left out");
    assert_eq!(notices.len(), 3, "{notices:#?}");
    assert!(notices[0].contains("100 lines like the last one within 10 minutes"), "{notices:#?}");
    // Other lines are written.
    register(&mut drivers[1], "last", &["unalarm"]);
    assert_eq!(terminal.status()["provided"]["unalarm"], "last");
}
