//! Keys that narrow a `DATA DELETE` or a `DATA QUERY`: what is not meant stays, and a key that the
//! terminal does not know never makes a deletion wider. Against a raw server that knows only the rule
//! "0 means done".

use serde_json::json;

use crate::harness::{Commanding, Terminal};

/// Two of each template of person 1.
fn person() -> Vec<String> {
    let mut commands = vec!["DATA UPDATE USERINFO PIN=1\tName=Ann".to_owned()];
    for nth in 0..2 {
        commands.push(format!("DATA UPDATE FINGERTMP PIN=1\tFID={nth}\tSize=4\tValid=1\tTMP=QUJD"));
        commands.push(format!("DATA UPDATE FACE PIN=1\tFID={nth}\tSize=4\tValid=1\tTMP=QUJD"));
        commands.push(format!(
            "DATA UPDATE FVEIN Pin=1\tFID=0\tIndex={nth}\tSize=4\tValid=1\tTmp=QUJD"
        ));
    }
    commands
}

/// The templates that are there: kind, number, index.
fn templates(terminal: &Terminal) -> Vec<String> {
    let all = terminal.driver().call("changes", json!({"after": 0})).unwrap();
    let templates = all["templates"].as_array().unwrap().iter();
    let mut found: Vec<String> = templates
        .map(|template| {
            format!("{} {} {}", template["kind"], template["number"], template["index"])
                .replace('"', "")
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_deletion_takes_what_it_names_and_no_more() {
    let mut server = Commanding::start("");
    let cases: [(&str, i64, &[&str]); 9] = [
        ("FINGERTMP PIN=1\tFID=1", 0, &["fingerprint 1"]),
        ("FACE PIN=1\tFID=1", 0, &["face 1"]),
        ("FVEIN Pin=1\tFID=0\tIndex=1", 0, &["fvein 0 1"]),
        ("FVEIN Pin=1\tFID=0", 0, &["fvein 0 0", "fvein 0 1"]),
        ("FACE PIN=1", 0, &["face 0", "face 1"]),
        ("FINGERTMP PIN=1\tFingerID=1", -1, &[]),
        ("FINGERTMP PIN=1\tFID=", -1, &[]),
        ("FACE PIN=1\tIndex=1", -1, &[]),
        ("BIOPHOTO PIN=1\tKind=2", -1, &[]),
    ];
    for (record, code, expected) in cases {
        assert!(server.returns_all(&person()).iter().all(|code| *code == 0));
        let before = templates(&server.terminal);
        assert_eq!(before.len(), 6, "{before:?}");
        assert_eq!(server.returns(format!("DATA DELETE {record}")), code, "{record}");
        let after = templates(&server.terminal);
        let gone: Vec<&String> = before.iter().filter(|of| !after.contains(of)).collect();
        assert_eq!(gone.len(), expected.len(), "{record}: {gone:?}");
        let fits = |of: &String| expected.iter().any(|wanted| of.starts_with(wanted));
        assert!(gone.into_iter().all(fits), "{record}: {after:?}");
    }
    assert!(server.terminal.log().contains("FingerID"), "the key is named");
}

#[test]
fn a_key_that_a_query_does_not_know_is_named_in_the_log_once() {
    let mut server = Commanding::start("");
    assert_eq!(server.returns("DATA UPDATE USERINFO PIN=1"), 0);
    for _ in 0..2 {
        assert_eq!(server.returns("DATA QUERY USERINFO PIN=1\tDept=4"), 0);
        assert_eq!(server.returns("DATA QUERY ATTLOG PIN=1"), 0);
    }
    let log = server.terminal.log();
    assert_eq!(log.matches("\"Dept\"").count(), 1, "{log}");
    assert_eq!(log.matches("\"PIN\"").count(), 1, "{log}");
}

#[test]
fn a_byte_order_mark_hides_no_command_and_a_blank_card_is_none() {
    let server = Commanding::start("");
    server
        .gives("\u{feff}C:a:DATA UPDATE USERINFO PIN=1\tName=Ann\tCard= \nC:b:CHECK\n".as_bytes());
    assert_eq!(server.answer("a").0, 0);
    assert_eq!(server.answer("b").0, 0);
}
