//! Files (F1, F2): got as they are, put where the owner lists, all or nothing.

use std::fs;

use crate::harness::{answer, noise, returns, server, targets, terminal_with_files, tgz};

#[test]
fn a_file_is_got_as_it_is_and_goes_alone() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
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
    let terminal = terminal_with_files(&server, "");
    let content = noise(30 << 20);
    fs::write(terminal.path("files/large"), &content).unwrap();
    let before = terminal.proc("status", "VmHWM");
    let id = server.queue(&format!("GetFile {}", terminal.path("files/large").display()));
    let (size, got) = answer(&server, &id);
    assert_eq!(size, 30 << 20);
    assert!(got == content);
    let more = terminal.proc("status", "VmHWM").saturating_sub(before);
    assert!(more < 1024, "{more} KiB more for a file of 30 MiB");
    server.assert_strict();
}

#[test]
fn files_are_put_in_all_their_forms() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
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
    let terminal = terminal_with_files(&server, "");
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
