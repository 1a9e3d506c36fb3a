//! Ids that are used again and again, and servers that go back to a list that they had before.

use serde_json::json;

use crate::harness::{Commanding, polls_of, replies_to, until};

const SHELL: &str = "[commands]\nshell = \"allow\"";

/// Gives out a list, waits until each of its commands is answered, and for polls without any.
fn give(bench: &Commanding, list: &str) {
    let answered = || replies_to(&bench.server).values().map(Vec::len).sum::<usize>();
    let wanted = answered() + list.lines().filter(|line| line.starts_with("C:")).count();
    bench.gives(list.as_bytes());
    let log = || format!("{:?}: {}", replies_to(&bench.server), bench.terminal.log());
    until("answered", || answered() >= wanted, log);
    polls_of(&bench.server, 2);
    assert_eq!(answered(), wanted, "{list:?}");
}

/// What the lines of SHELL wrote so far.
fn ran(bench: &Commanding) -> String {
    std::fs::read_to_string(bench.terminal.path("ran")).unwrap_or_default().replace('\n', "")
}

fn shell(bench: &Commanding, id: &str, text: &str) -> String {
    format!("C:{id}:SHELL echo {text} >> {}\n", bench.terminal.path("ran").display())
}

#[test]
fn an_id_that_is_used_for_a_third_time_is_the_command_that_it_stands_for_now() {
    // One id, with one text and with three, alone and between others: each is done each time, in order.
    let bench = Commanding::start(SHELL);
    for text in ["a", "b", "c", "a", "a", "b", "c"] {
        give(&bench, &shell(&bench, "7", text));
    }
    assert_eq!(ran(&bench), "abcaabc");
    assert_eq!(replies_to(&bench.server)["7"], [0; 7]);

    // Within one list too, where the same text is the same command.
    let bench = Commanding::start(SHELL);
    let list = ["a", "b", "c"].map(|text| shell(&bench, "7", text)).concat();
    for times in 1..=3 {
        give(&bench, &list);
        assert_eq!(ran(&bench), "abc".repeat(times));
    }
}

#[test]
fn a_server_with_fixed_ids_that_goes_back_to_an_old_list_has_it_done_again() {
    let bench = Commanding::start(SHELL);
    let user = |name: &str| format!("C:u:DATA UPDATE USERINFO PIN=1\tName={name}\n");
    let old = [user("Ann"), shell(&bench, "s", "x"), shell(&bench, "t", "y")].concat();
    let new = [user("Bea"), shell(&bench, "s", "z")].concat();
    let name = || {
        let user = bench.terminal.driver().call("user.get", json!({"pin": "1"})).unwrap();
        user["name"].as_str().unwrap().to_owned()
    };
    for (list, expected, so_far) in [
        (&old, "Ann", "xy"),
        (&new, "Bea", "xyz"),
        (&old, "Ann", "xyzxy"),
        (&old, "Ann", "xyzxyxy"),
        (&new, "Bea", "xyzxyxyz"),
    ] {
        give(&bench, list);
        assert_eq!((name().as_str(), ran(&bench).as_str()), (expected, so_far));
    }
    assert!(replies_to(&bench.server).values().flatten().all(|code| *code == 0));
}

#[test]
fn a_server_whose_ids_rise_that_goes_back_to_an_old_list_is_answered_and_nothing_is_done() {
    let mut bench = Commanding::start(SHELL);
    let list = |bench: &Commanding, ids: std::ops::Range<u32>| -> String {
        ids.map(|id| shell(bench, &id.to_string(), &format!("{}", id % 10))).collect()
    };
    let (old, new) = (list(&bench, 101..107), list(&bench, 107..109));
    give(&bench, &old);
    give(&bench, &new);
    assert_eq!(ran(&bench), "12345678");
    for _ in 0..2 {
        give(&bench, &old);
        give(&bench, &new);
    }
    bench.terminal.kill();
    bench.terminal.run();
    give(&bench, &old);
    assert_eq!(ran(&bench), "12345678", "an old list was done again");
    // It goes on from there, with the ids that come next.
    give(&bench, &list(&bench, 109..110));
    assert_eq!(ran(&bench), "123456789");
}

#[test]
fn a_server_that_was_set_back_and_uses_its_old_ids_for_other_commands_has_them_done() {
    let bench = Commanding::start(SHELL);
    let list = |texts: &[&str]| -> String {
        let lines = texts.iter().enumerate();
        lines.map(|(nth, text)| shell(&bench, &(101 + nth).to_string(), text)).collect()
    };
    give(&bench, &list(&["a", "b", "c", "d", "e", "f"]));
    // 101 has another text now: from there on everything is new, also what had the same text before.
    give(&bench, &list(&["g", "b", "c", "h"]));
    assert_eq!(ran(&bench), "abcdefgbch");
}
