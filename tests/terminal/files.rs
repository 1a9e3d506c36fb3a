//! Files (F1–F4, D8 by URL): fetched in parts, kept where the owner lists, and all or nothing.

use std::fs;

use iclock_emulator::{Act, Emulator, Fault, Kind, On};
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, server, targets};

/// The answer to a command: its `Return`, and its content.
#[track_caller]
pub fn answer(server: &Emulator, id: &str) -> (i64, Vec<u8>) {
    let came = server.wait_until(TIMEOUT, |received| received.reply(id).is_some());
    assert!(came, "{id} was never answered");
    let reply = server.received(|received| received.reply(id).unwrap().clone());
    (reply.ret, reply.content.unwrap_or_default())
}

#[track_caller]
fn returns(server: &Emulator, text: &str) -> i64 {
    let id = server.queue(text);
    answer(server, &id).0
}

/// A terminal whose owner lets files be put and got in a directory `files` of its own.
fn terminal(server: &Emulator, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    fs::create_dir(&files).unwrap();
    let files = files.display();
    let commands = format!(
        "[commands]\nget_file = \"allow\"\nput_dirs = [\"{files}\"]\nget_dirs = [\"{files}\"]\n{more}"
    );
    terminal.configure(&server.url(), &commands);
    terminal.run();
    terminal
}

/// A tgz of these files.
fn tgz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(packed);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// Bytes that differ everywhere.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..6]);
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn a_file_is_got_as_it_is_and_goes_alone() {
    let server = server();
    let terminal = terminal(&server, "");
    let content = noise(300_000);
    fs::write(terminal.path("files/log\u{e9} 1.bin"), &content).unwrap();
    fs::write(terminal.path("files/empty"), b"").unwrap();
    let path = |name: &str| terminal.path("files").join(name).display().to_string();
    let first = server.queue("INFO");
    let id = server.queue(&format!("GetFile {}", path("log\u{e9} 1.bin")));
    let empty = server.queue(&format!("GetFile {}", path("empty")));
    assert_eq!(answer(&server, &id), (300_000, content));
    assert_eq!(answer(&server, &empty), (0, Vec::new()));
    assert_eq!(answer(&server, &first).0, 0);
    // What is not there, is no file, or lies elsewhere.
    assert_eq!(returns(&server, &format!("GetFile {}", path("none"))), -2);
    assert_eq!(returns(&server, &format!("GetFile {}", terminal.path("files").display())), -1);
    assert_eq!(returns(&server, &format!("GetFile {}", path("../punchd.toml"))), -1002);
    assert_eq!(returns(&server, "GetFile /etc/passwd"), -1002);
    assert_eq!(returns(&server, "GetFile "), -1);
    server.assert_strict();
}

#[test]
fn a_large_file_is_got_without_holding_it() {
    let server = server();
    let terminal = terminal(&server, "");
    let content = noise(30 << 20);
    fs::write(terminal.path("files/large"), &content).unwrap();
    let before = terminal.proc("status", "VmHWM");
    let id = server.queue(&format!("GetFile {}", terminal.path("files/large").display()));
    let (size, got) = answer(&server, &id);
    assert_eq!(size, 30 << 20);
    assert!(got == content);
    let more = terminal.proc("status", "VmHWM") - before;
    assert!(more < 1024, "{more} KiB more for a file of 30 MiB");
    server.assert_strict();
}

#[test]
fn files_are_put_in_all_their_forms() {
    let server = server();
    let terminal = terminal(&server, "");
    let files = terminal.path("files");
    let content = noise(1_500_000);
    server.serve_file("file/fw/X938/ssruser.dat", content.clone());
    let archive = tgz(&[("etc/a.conf", b"one"), ("./b", b"two"), ("deep/er/c", b"three")]);
    server.serve_file("file/fw/X938/main.tgz", archive.clone());
    let put = |text: String| returns(&server, &text);

    // A path below /iclock/, and a whole URL; a directory that is not there yet is made.
    let to = files.join("new/ssruser.dat");
    let url = "file/fw/X938/ssruser.dat";
    assert_eq!(put(format!("PutFile {url}\t{}", to.display())), 1_500_000);
    assert!(fs::read(&to).unwrap() == content);
    let whole = format!("{}/iclock/{url}", server.url());
    assert_eq!(put(format!("PutFile {whole}\tother.dat")), 1_500_000);
    assert!(fs::read(files.join("other.dat")).unwrap() == content);

    // An archive is unpacked: where the owner's list begins, or where the server says.
    let size = archive.len() as i64;
    assert_eq!(put("PutFile file/fw/X938/main.tgz main.tgz".into()), size);
    assert_eq!(fs::read(files.join("etc/a.conf")).unwrap(), b"one");
    assert_eq!(put(format!("PutFile file/fw/X938/main.tgz\t{}/there/", files.display())), size);
    assert_eq!(fs::read(files.join("there/deep/er/c")).unwrap(), b"three");
    assert!(!files.join("main.tgz").exists());

    // What cannot be kept is not even fetched.
    let fetched = targets(&server, "file").len();
    for (text, code) in [
        (format!("PutFile {url}"), -1),
        (format!("PutFile {url}\t/etc/cron.d/x"), -1002),
        (format!("PutFile {url}\t{}/../x", files.display()), -1002),
        (format!("PutFile http://192.0.2.1/x\t{}/x", files.display()), -1002),
        ("PutFile ftp://192.0.2.1/x\t/etc/x".into(), -1002),
        ("PutFile ".into(), -1),
    ] {
        assert_eq!(put(text.clone()), code, "{text}");
    }
    assert_eq!(targets(&server, "file").len(), fetched);
    server.assert_strict();
}

#[test]
fn a_broken_archive_changes_nothing() {
    let server = server();
    let terminal = terminal(&server, "");
    let files = terminal.path("files");
    fs::write(files.join("a"), "old").unwrap();
    let mut cut = tgz(&[("a", b"new"), ("b", &noise(100_000))]);
    cut.truncate(cut.len() - 100);
    server.serve_file("cut.tgz", cut);
    server.serve_file("no.tgz", "<html>not found</html>");
    assert_eq!(returns(&server, "PutFile cut.tgz"), -1);
    assert_eq!(returns(&server, "PutFile no.tgz"), -1);
    assert_eq!(fs::read(files.join("a")).unwrap(), b"old");
    assert_eq!(fs::read_dir(&files).unwrap().count(), 1);
    assert_eq!(fs::read_dir(terminal.path("punchd.db.files")).unwrap().count(), 0);
    server.assert_strict();
}

/// A list of data commands, as a file holds them.
fn list(lines: &[String]) -> Vec<u8> {
    lines.join("\n").into_bytes()
}

#[test]
fn a_table_is_replaced_by_a_file_or_stays_as_it_was() {
    let server = server();
    let terminal = terminal(&server, "");
    for pin in ["1", "2"] {
        assert_eq!(
            returns(&server, &format!("DATA UPDATE USERINFO PIN={pin}\tName=Old\tPri=14")),
            0
        );
        let template = format!("DATA UPDATE FINGERTMP PIN={pin}\tFID=1\tSize=4\tValid=1\tTMP=QUJD");
        assert_eq!(returns(&server, &template), 0);
    }
    let user = |nth: u32| format!("C:{nth}:DATA UPDATE USERINFO PIN={nth}\tName=New");
    let good: Vec<String> = (2..5_002).map(user).collect();
    server.serve_file("good.txt", list(&good));
    server.serve_file("good.tgz", tgz(&[("users.txt", &list(&good))]));
    let bad = |line: &str| list(&[user(2), line.into(), user(3)]);
    server.serve_file("bad-record.txt", bad("C:9:DATA UPDATE USERINFO PIN=9 Name=Blanks"));
    server.serve_file("bad-table.txt", bad("C:9:DATA UPDATE FINGERTMP PIN=2"));
    server.serve_file("bad-command.txt", bad("C:9:SHELL touch /tmp/x"));
    server.serve_file("bad-line.txt", bad("hello"));
    let sync = |file: &str, table: &str, count: usize| {
        let text =
            format!("PutFile {file}\t\tAction=SyncData\tTableName={table}\tRecordCount={count}");
        returns(&server, &text)
    };
    for file in ["bad-record.txt", "bad-table.txt", "bad-command.txt", "bad-line.txt"] {
        assert_eq!(sync(file, "USERINFO", 3), -1, "{file}");
    }
    assert_eq!(sync("good.txt", "USERINFO", 4_999), -1);
    assert_eq!(sync("good.txt", "ATTLOG", 5_000), -1004);
    let unknown = list(&["DATA UPDATE FACE PIN=77\tFID=1\tSize=4\tValid=1\tTMP=QUJD".into()]);
    server.serve_file("unknown.txt", unknown);
    assert_eq!(sync("unknown.txt", "FACE", 1), -10);
    let mut driver = terminal.driver();
    assert_eq!(driver.call("user.get", json!({"pin": "1"})).unwrap()["name"], "Old");
    assert_eq!(terminal.status()["users"], 2);

    assert_eq!(sync("good.txt", "USERINFO", 5_000), 5_000);
    let status = terminal.status();
    assert_eq!(status["users"], 5_000);
    assert!(driver.call("user.get", json!({"pin": "1"})).unwrap().is_null());
    // Nothing stays of the old user but what hangs on them.
    let kept = driver.call("user.get", json!({"pin": "2"})).unwrap();
    assert_eq!((&kept["name"], &kept["pri"]), (&json!("New"), &json!(0)));
    let info = server.queue("INFO");
    assert!(String::from_utf8(answer(&server, &info).1).unwrap().contains("FPCount=1"));
    assert_eq!(sync("good.tgz", "USERINFO", 5_000), 5_000);

    // Templates of the table go, others stay.
    let face = "DATA UPDATE FACE PIN=3\tFID=1\tSize=4\tValid=1\tTMP=QUJD";
    assert_eq!(returns(&server, face), 0);
    let finger =
        |pin: u32| format!("DATA UPDATE FINGERTMP PIN={pin}\tFID=2\tSize=4\tValid=1\tTMP=QUJD");
    server.serve_file("fingers.txt", list(&[finger(4), finger(5), finger(6)]));
    assert_eq!(sync("fingers.txt", "FINGERTMP", 3), 3);
    let info = server.queue("INFO");
    let info = String::from_utf8(answer(&server, &info).1).unwrap();
    assert!(info.contains("FPCount=3") && info.contains("FaceCount=1"), "{info}");
    // None of it goes back up.
    assert_eq!(terminal.status()["streams"]["users"]["pending"], 0);
    server.assert_strict();
}

#[test]
fn a_file_of_commands_is_carried_out_but_for_what_is_no_data() {
    let server = server();
    let terminal = terminal(&server, "shell = \"allow\"");
    let lines = |bad: &str| {
        list(&[
            "C:123:DATA UPDATE USERINFO PIN=1\tName=Ann".into(),
            "C:124:DATA UPDATE FINGERTMP PIN=1\tFID=3\tSize=4\tValid=1\tTMP=QUJD".into(),
            bad.into(),
            "DATA UPDATE USERINFO PIN=2".into(),
        ])
    };
    let append = |file: &str| returns(&server, &format!("PutFile {file}\tx\tAction=AppendData"));
    let good = lines("C:125:DATA DELETE USERINFO PIN=3");
    server.serve_file("good.txt", good.clone());
    assert_eq!(append("good.txt"), good.len() as i64);
    assert_eq!(terminal.status()["users"], 2);
    for (bad, code) in [
        (format!("C:125:SHELL touch {}", terminal.path("files/shell").display()), -1),
        ("C:125:REBOOT".into(), -1),
        ("C:125:DATA UPDATE USERINFO Name=nobody".into(), -1),
        ("C:125:DATA UPDATE FINGERTMP PIN=9\tFID=3\tSize=4\tValid=1\tTMP=QUJD".into(), -10),
        ("rubbish".into(), -1),
    ] {
        server.serve_file("bad.txt", lines(&bad));
        assert_eq!(append("bad.txt"), code, "{bad}");
    }
    assert!(!terminal.path("files/shell").exists());
    server.assert_strict();
}

#[test]
fn a_comparison_photo_is_fetched() {
    let server = server();
    let terminal = terminal(&server, "");
    let mut photo = vec![0xFF, 0xD8, 0xFF];
    photo.extend(noise(40_000));
    photo.extend([0xFF, 0xD9]);
    server.serve_file("photos/1.jpg", photo.clone());
    server.serve_file("photos/2.jpg", "no picture");
    assert_eq!(returns(&server, "DATA UPDATE USERINFO PIN=1"), 0);
    let by_url = |pin: u32, url: &str| {
        returns(&server, &format!("DATA UPDATE BIOPHOTO PIN={pin}\tType=9\tFormat=1\tUrl={url}"))
    };
    assert_eq!(by_url(1, "photos/1.jpg"), 0);
    assert_eq!(by_url(7, "photos/1.jpg"), -10);
    assert_eq!(by_url(1, "photos/2.jpg"), -1);
    assert_eq!(by_url(1, "http://192.0.2.1/1.jpg"), -1002);
    drop(terminal);
    server.assert_strict();
}

#[test]
fn a_download_goes_on_where_it_was_cut() {
    let server = server();
    let mut terminal = terminal(&server, "");
    let content = noise(4 << 20);
    server.serve_file("large.bin", content.clone());
    server.fault(Fault::new(On::file(), Act::ResetBody).times(1));
    server.fault(Fault::new(On::file(), Act::HalfBody).times(1));
    server.fault(Fault::new(
        On::file(),
        Act::Answer { status: 503, body: "busy".into(), fields: vec![] },
    ));
    let id = server.queue("PutFile large.bin\tlarge.bin");
    for _ in 0..3 {
        terminal.wait_for("some of it", |status| {
            status["jobs"][0]["fetched"].as_u64().unwrap_or(4 << 20) > 0
        });
        server.allow(Kind::CutShort);
        terminal.kill();
        terminal.run();
    }
    assert_eq!(answer(&server, &id).0, 4 << 20);
    assert!(fs::read(terminal.path("files/large.bin")).unwrap() == content);
    let fetched = server.received(|received| received.file_bytes());
    assert!(fetched < (4 << 20) + 6 * (512 << 10), "{fetched} bytes were fetched");
    server.assert_strict();
}

#[test]
fn a_file_that_changes_is_fetched_anew() {
    let server = server();
    let terminal = terminal(&server, "");
    let (old, new) = (noise(3 << 20), noise(2 << 20));
    server.serve_file("f", old);
    server.fault(Fault::new(On::file(), Act::Delay { ms: 200 }).always());
    let id = server.queue("PutFile f\tf");
    terminal.wait_for("some of it", |status| status["jobs"][0]["fetched"].as_u64() > Some(0));
    server.serve_file("f", new.clone());
    server.clear_faults();
    assert_eq!(answer(&server, &id).0, 2 << 20);
    assert!(fs::read(terminal.path("files/f")).unwrap() == new);
    server.assert_strict();
}

/// Faults of a file server; each is given up in the end, and leaves nothing behind.
#[test]
fn hopeless_downloads_are_given_up() {
    let server = server();
    let limits = "[limits]\nfile_mib = 1\nstart_spread = 0\n[timeouts]\nretry = 1\nanswer = 2";
    let terminal = terminal(&server, limits);
    server.set_option("ErrorDelay", "1");
    server.serve_file("too-long", noise((1 << 20) + 1));
    assert_eq!(returns(&server, "PutFile too-long\tx"), -1006);
    // Endless, and without a word of its length.
    let endless = noise(3 << 20);
    server.serve_file("endless", endless);
    server.fault(Fault::new(On::file(), Act::Chunked).always());
    assert_eq!(returns(&server, "PutFile endless\tx"), -1006);
    server.clear_faults();
    assert!(!terminal.path("files/x").exists());
    assert_eq!(fs::read_dir(terminal.path("punchd.db.files")).unwrap().count(), 0);
    server.assert_strict();
}

#[test]
fn a_file_that_is_not_there_is_given_up_and_holds_up_no_other() {
    let server = server();
    let terminal = terminal(&server, "");
    server.allow(Kind::UnknownPath);
    server.serve_file("b", "b");
    let missing = server.queue("PutFile a\ta");
    assert_eq!(returns(&server, "PutFile b\tb"), 1);
    assert_eq!(answer(&server, &missing).0, -1008);
    assert!(terminal.log().contains("the server has no such file"));
    let asked = targets(&server, "file").iter().filter(|target| target.ends_with("/a")).count();
    assert!((2..=4).contains(&asked), "{asked}");
}

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
