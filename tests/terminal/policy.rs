//! What the owner allows a server: refused with −1002, and on record.

use serde_json::json;

use crate::harness::{Terminal, answer, returns, server, terminal_with_files};

#[test]
fn what_the_owner_denies_is_refused_and_on_record() {
    let server = server();
    let mut terminal = Terminal::start(
        &server,
        "[commands]\nput_file = \"deny\"\nupgrade = \"deny\"\nreboot = \"deny\"\noptions = \"deny\"\ndata = \"deny\"",
    );
    server.serve_file("x", "x");
    let sum = "0cc175b9c0f1b6a831c399e269772661";
    let commands = [
        "GetFile /etc/passwd".to_owned(),
        "PutFile x\t/mnt/mtdblock/x".into(),
        "SHELL id".into(),
        format!("UPGRADE type=1,checksum={sum},size=1,url=x"),
        "REBOOT".into(),
        "CLEAR DATA".into(),
        "SET OPTION Delay=5".into(),
        "DATA UPDATE USERINFO PIN=1".into(),
        "DATA UPDATE BIOPHOTO PIN=1\tType=9\tFormat=1\tUrl=x".into(),
    ];
    for text in &commands {
        assert_eq!(returns(&server, text), -1002, "{text}");
    }
    assert_eq!(returns(&server, "CHECK"), 0);
    let url = server.url();
    let check = |terminal: &Terminal| {
        let status = terminal.status();
        let audit = status["audit"].as_array().unwrap();
        assert_eq!(audit.len(), commands.len());
        for (entry, text) in audit.iter().rev().zip(&commands) {
            assert_eq!(entry["result"], -1002);
            assert_eq!(entry["what"], text.replace('\t', " "));
            assert_eq!(entry["server"], url);
            assert!(entry["at"].as_i64().unwrap() > 1_700_000_000);
        }
    };
    check(&terminal);
    terminal.kill();
    terminal.run();
    check(&terminal);
    let shown = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(shown.contains("SHELL id: answered -1002"), "{shown}");
    server.assert_strict();
}

#[test]
fn data_by_file_needs_the_permission_for_data() {
    let server = server();
    let mut terminal = terminal_with_files(&server, "data = \"deny\"");
    let add_ann = |terminal: &Terminal| {
        terminal.driver().call("user.put", json!({"pin": "1", "name": "Ann"})).unwrap();
    };
    add_ann(&terminal);
    server.serve_file("add", "DATA UPDATE USERINFO PIN=666\tPri=14");
    server.serve_file("none", " ");
    let none = "PutFile none\t\tAction=SyncData\tTableName=USERINFO\tRecordCount=0";
    for text in ["PutFile add\t\tAction=AppendData", none] {
        let id = server.queue(text);
        assert_eq!(answer(&server, &id).0, -1002, "{text}");
    }
    // An empty file in place of all users is a CLEAR DATA.
    terminal.stop();
    let files = terminal.path("files").display().to_string();
    terminal.configure(&server.url(), &format!("[commands]\nput_dirs = [\"{files}\"]"));
    terminal.run();
    let id = server.queue(none);
    assert_eq!(answer(&server, &id).0, -1002);
    assert_eq!(terminal.status()["users"], 1);
    server.assert_strict();
}
