//! Results of commands: each is answered until the server has it, in time, and none holds up another.

use std::fs;

use iclock_emulator::{Act, Fault, Kind, On, Repeat, Settings};

use crate::harness::{
    TIMEOUT, Terminal, answer, returns, second, server, server_with, store, targets,
    terminal_with_files,
};

#[test]
fn many_commands_in_one_poll_are_answered_by_their_ids() {
    let server = server_with(Settings { id_prefix: "abc-XYZ9".into(), ..Settings::default() });
    let ids: Vec<String> = (0..50)
        .map(|nth| server.queue(&format!("DATA UPDATE USERINFO PIN={nth}\tName=User {nth}")))
        .collect();
    let terminal = Terminal::start(&server, "");
    for id in &ids {
        assert_eq!(answer(&server, id).0, 0);
    }
    // One poll brought them, one POST answered them, joined with LF.
    assert_eq!(targets(&server, "reply").len(), 1);
    assert_eq!(terminal.status()["users"], 50);
    server.assert_strict();
}

#[test]
fn replies_can_go_one_by_one() {
    let server = server();
    let ids: Vec<String> =
        (0..5).map(|nth| server.queue(&format!("SET OPTION Volume={nth}"))).collect();
    let _terminal = Terminal::start(&server, "[dialect]\nreplies_alone = true");
    ids.iter().for_each(|id| assert_eq!(answer(&server, id).0, 0));
    assert_eq!(targets(&server, "reply").len(), 5);
    server.assert_strict();
}

#[test]
fn a_result_stays_until_the_server_took_it() {
    let server = server();
    for act in [Act::status(500, ""), Act::empty(), Act::Drop, Act::ResetBody] {
        server.fault(Fault::new(On::reply(), act));
    }
    server.queue_repeated("once", "DATA UPDATE USERINFO PIN=7", Repeat::Times(1));
    let mut terminal = Terminal::start(&server, "");
    assert!(
        server.wait_until(TIMEOUT, |received| received
            .requests()
            .any(|seen| seen.exchange == "reply"))
    );
    terminal.kill();
    terminal.run();
    assert_eq!(answer(&server, "once").0, 0);
}

#[test]
fn a_reply_that_is_always_refused_holds_up_no_other() {
    let server = server();
    server.fault(Fault::new(On::reply(), Act::status(200, "FAIL")).containing("ID=bad&").always());
    for id in ["a", "b", "bad", "c", "d"] {
        server.queue_repeated(id, &format!("SET OPTION {id}=1"), Repeat::Times(1));
    }
    let _terminal = Terminal::start(&server, "");
    for id in ["a", "b", "c", "d"] {
        assert_eq!(answer(&server, id).0, 0);
    }
    assert_eq!(returns(&server, "SET OPTION later=1"), 0);
    server.clear_faults();
    assert_eq!(answer(&server, "bad").0, 0);
}

#[test]
fn a_result_that_is_taken_after_all_leaves_no_trouble() {
    // Given a server that fails at a result twice: among others, and by itself,
    let server = server();
    server.fault(Fault::new(On::reply(), Act::status(500, "out of memory")).times(2));
    let id = server.queue("SET OPTION a=1");
    let terminal = Terminal::start(&server, "");
    terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    // when it takes the result,
    assert_eq!(answer(&server, &id).0, 0);
    // then nothing is wrong any more.
    let is_well = |status: &serde_json::Value| status["trouble"].is_null();
    terminal.wait_for("well again", is_well);
}

#[test]
fn a_file_that_does_not_get_through_holds_up_no_other_answer() {
    let server = server();
    server.allow(Kind::CutShort);
    let terminal = terminal_with_files(&server, "");
    fs::write(terminal.path("files/x"), vec![b'x'; 100_000]).unwrap();
    let fault = Fault::new(On::reply(), Act::ResetRead).always().containing("CMD=GetFile");
    server.fault(fault);
    let file = server.queue(&format!("GetFile {}", terminal.path("files/x").display()));
    let info = server.queue("INFO");
    assert_eq!(answer(&server, &info).0, 0);
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    server.clear_faults();
    assert_eq!(answer(&server, &file).0, 100_000);
}

#[test]
fn a_journal_full_of_results_keeps_nobody_from_connecting() {
    let server = server();
    server.allow(Kind::UnknownCommand);
    let mut terminal = terminal_with_files(&server, "");
    terminal.stop();
    let mut db = store(&terminal);
    let filling = db.transaction().unwrap();
    for nth in 0..200_002_i64 {
        let digest: Vec<u8> = nth.to_le_bytes().iter().chain(&[0; 8]).copied().collect();
        let sql = "INSERT INTO command (digest, id, name, attempts, code, due) VALUES (?1, ?2, 'DATA', 1, 0, 1)";
        filling.execute(sql, rusqlite::params![digest, format!("x{nth}")]).unwrap();
    }
    filling.commit().unwrap();
    drop(db);
    terminal.run();
    terminal.driver().punch("1", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    assert!(server.wait_until(TIMEOUT, |received| received.count("reply") > 5));
}
