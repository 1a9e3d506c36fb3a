//! Commands go out with the polls until they are answered; the answers are kept.

mod terminal;

use iclock_emulator::{Kind, Repeat, Settings};
use terminal::{SN, get, kinds, start, start_with};

#[test]
fn a_command_goes_out_until_its_reply_came() {
    let (server, t) = start();
    let id = server.queue("CHECK");
    assert_eq!(t.poll().body, format!("C:{id}:CHECK"));
    assert_eq!(t.poll().body, format!("C:{id}:CHECK"));
    assert_eq!(t.reply(&format!("ID={id}&Return=0&CMD=CHECK\n")).body, "OK");
    assert_eq!(t.poll().body, "OK");
    t.reply(&format!("ID={id}&Return=0&CMD=CHECK\n"));
    let replies = server.replies();
    assert_eq!((replies.len(), replies[0].ret, replies[0].times), (1, 0, 2));
    let summary = server.summary();
    assert_eq!((summary.commands_queued, summary.commands_answered), (1, 1));
    server.assert_strict();
}

#[test]
fn many_commands_one_poll_and_not_more_than_the_limit() {
    let (server, t) =
        start_with(Settings { commands_per_poll: 2, id_prefix: "c".into(), ..Settings::default() });
    for text in ["LOG", "CHECK", "INFO"] {
        server.queue(text);
    }
    assert_eq!(t.poll().body, "C:c1:LOG\nC:c2:CHECK");
    t.reply("ID=c1&Return=0&CMD=LOG\nID=c2&Return=0&CMD=CHECK");
    assert_eq!(t.poll().body, "C:c3:INFO");
    t.reply("ID=c3&Return=0&CMD=INFO\n~SerialNumber=TEST0001\nUserCount=3");
    let info = server.received(|received| received.reply("c3").cloned()).unwrap();
    assert_eq!(info.content.unwrap(), b"~SerialNumber=TEST0001\nUserCount=3\n");
    server.assert_strict();
}

#[test]
fn the_same_command_may_come_again_although_answered() {
    let (server, t) = start();
    server.queue_repeated("7", "REBOOT", Repeat::Times(3));
    server.queue_repeated("8", "LOG", Repeat::Once);
    assert_eq!(t.poll().body, "C:7:REBOOT\nC:8:LOG");
    t.reply("ID=7&Return=0&CMD=REBOOT");
    assert_eq!(t.poll().body, "C:7:REBOOT");
    assert_eq!(t.poll().body, "C:7:REBOOT");
    assert_eq!(t.poll().body, "OK");
    server.queue_as("7", "CHECK");
    t.poll();
    t.reply("ID=7&Return=0&CMD=CHECK");
    assert_eq!(server.replies().len(), 2, "the same id with another text is another command");
    server.assert_strict();
}

#[test]
fn a_body_of_the_tests_own_is_known_afterwards() {
    let (server, t) = start();
    server.next_poll_body("C:a1:LOG\r\n\r\nrubbish\r\nC:a2:SHELL date");
    assert!(t.poll().body.ends_with("C:a2:SHELL date"));
    t.reply("ID=a1&Return=0&CMD=LOG");
    t.reply(&format!(
        "ID=a2\nSN={SN}\nReturn=0\nCMD=Shell\nFILENAME=shellout.txt\nContent=today\n"
    ));
    assert_eq!(
        server.received(|r| r.reply("a2").and_then(|it| it.content.clone())).unwrap(),
        b"today\n"
    );
    assert_eq!(t.poll().body, "OK");
    server.assert_strict();
    t.reply("ID=a2&Return=0&CMD=LOG");
    assert!(kinds(&server).contains(&Kind::ReplyName));
}

#[test]
fn files_come_up_and_go_down() {
    let (server, t) = start();
    server.serve_file("file/fw/main.tgz", b"0123456789".to_vec());
    let whole = t.get("/iclock/file/fw/main.tgz");
    assert_eq!((whole.status, whole.body.as_str()), (200, "0123456789"));
    let tag = whole.head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let rest = |range: &str| {
        t.raw(&get("/iclock/file/fw/main.tgz").replace("Accept:", &format!("{range}\r\nAccept:")))
    };
    let part = rest(&format!("Range: bytes=4-\r\nIf-Range: {tag}"));
    assert_eq!((part.status, part.body.as_str()), (206, "456789"));
    assert!(part.head.contains("Content-Range: bytes 4-9/10"));
    assert_eq!(rest("Range: bytes=4-\r\nIf-Range: \"old\"").status, 200);
    assert_eq!(rest("Range: bytes=10-").status, 416);
    let url = format!("/iclock/file?SN={SN}&url=http://127.0.0.1/x/file/fw/main.tgz");
    assert_eq!(t.get(&url).body, "0123456789");

    server.queue_as("9", "GetFile /etc/hosts");
    t.poll();
    t.reply(&format!("ID=9\nSN={SN}\nFILENAME=/etc/hosts\nCMD=GetFile\nReturn=3\nContent=\0\n\0"));
    assert_eq!(server.replies()[0].content.as_deref(), Some(b"\0\n\0".as_slice()));
    server.assert_strict();
}

#[test]
fn rows_a_query_asked_for_come_in_packs() {
    let (server, t) = start();
    t.upload("ATTLOG", 3, &(1..=3).map(|n| terminal::punch(n, n)).collect::<String>());
    server.queue_as(
        "5",
        "DATA QUERY ATTLOG StartTime=2026-03-01 00:00:00\tEndTime=2026-03-03 00:00:00",
    );
    t.poll();
    for (pack, pins) in [(1, 1..=2), (2, 3..=3)] {
        let rows: String = pins.map(|n| terminal::punch(n, n)).collect();
        let path = format!(
            "/iclock/cdata?SN={SN}&table=ATTLOG&Stamp=1&Count=3&PackCnt=2&PackIdx={pack}&CmdId=5"
        );
        t.post(&path, rows);
    }
    t.reply("ID=5&Return=0&CMD=DATA");
    assert_eq!(server.summary().duplicates, 3);
    server.assert_strict();
}
