//! A server that means harm: its paths, archives and URLs stay where the owner lets them go.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;

use iclock_emulator::{Act, Emulator, Fault, On};

use crate::harness::{Terminal, answer, returns, second, server, targets};

/// A terminal with `files` to put and get, a `secret` beside it, and links between them.
fn terminal(server: &Emulator, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    let (files, secret) = (terminal.path("files"), terminal.path("secret"));
    fs::create_dir_all(files.join("sub")).unwrap();
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("wages"), "secret").unwrap();
    symlink(&secret, files.join("link")).unwrap();
    symlink(secret.join("wages"), files.join("link-to-file")).unwrap();
    symlink("/dev/zero", files.join("zero")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        files.join("pipe"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    let files = files.display();
    let commands = format!(
        "[commands]\nget_file = \"allow\"\nshell = \"allow\"\nput_dirs = [\"{files}\"]\n\
         get_dirs = [\"{files}\"]\n{more}"
    );
    terminal.configure(&server.url(), &commands);
    terminal.run();
    terminal
}

/// Everything beneath a directory: what it is, and what it holds. Links are not followed.
fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let name = path.display().to_string();
        if kind.is_dir() {
            found.extend(tree(&path));
            found.insert(name, b"directory".to_vec());
        } else if kind.is_file() {
            found.insert(name, fs::read(&path).unwrap());
        } else {
            found.insert(name, format!("{kind:?}").into_bytes());
        }
    }
    found
}

#[test]
fn no_path_leads_out_of_the_listed_directories() {
    let server = server();
    let terminal = terminal(&server, "");
    let (files, secret) = (terminal.path("files"), terminal.path("secret"));
    let before = (tree(&files), tree(&secret));
    server.serve_file("x", "harm");
    server.serve_file("x.tgz", "harm");
    let files = files.display().to_string();
    let long = format!("{files}/{}", "a/".repeat(900));
    let paths = [
        format!("{files}/../secret/wages"),
        format!("{files}/sub/../../secret/wages"),
        format!("{files}/link/wages"),
        format!("{files}/link-to-file"),
        format!("{files}/zero"),
        format!("{files}/pipe"),
        format!("{files}/sub"),
        format!("{files}x/y"),
        format!("{files}/./../secret/wages"),
        format!("{files}//../secret/wages"),
        format!("{files}/a\u{1}b"),
        format!("{files}/{}", "n".repeat(300)),
        format!("{files}/.punchd-put"),
        secret.join("wages").display().to_string(),
        "/proc/self/environ".into(),
        "/dev/mem".into(),
        "../secret/wages".into(),
        "/".into(),
        long,
    ];
    let both =
        paths.iter().flat_map(|path| [format!("GetFile {path}"), format!("PutFile x\t{path}")]);
    let roots = ["../secret", "/tmp", "/", &format!("{files}/link"), &format!("{files}/pipe/x")];
    let archives = roots.map(|path| format!("PutFile x.tgz\t{path}"));
    let asked: Vec<_> = both.chain(archives).map(|text| (server.queue(&text), text)).collect();
    for (id, text) in asked {
        let (code, _) = answer(&server, &id);
        assert!(code < 0, "{text}: {code}");
    }
    assert!((tree(&terminal.path("files")), tree(&secret)) == before);
    // It is still at work.
    terminal.driver().punch("1", &second(1));
    assert_eq!(returns(&server, "PutFile x\tsub/x"), 4);
    server.assert_strict();
}

/// An archive of members of any kind.
fn archive(members: &[(&str, tar::EntryType, &str, usize)]) -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(packed);
    for (name, kind, target, size) in members {
        let mut header = tar::Header::new_gnu();
        let (bytes, field) = (name.as_bytes(), &mut header.as_gnu_mut().unwrap().name);
        field[..bytes.len()].copy_from_slice(bytes);
        header.set_entry_type(*kind);
        header.set_size(*size as u64);
        header.set_mode(0o4755);
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        header.set_cksum();
        archive.append(&header, std::io::repeat(0).take(*size as u64)).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

#[test]
fn no_archive_leads_out_or_fills_the_disk() {
    use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let server = server();
    let terminal = terminal(&server, "[limits]\nfile_mib = 8\nstart_spread = 0");
    let (files, secret) = (terminal.path("files"), terminal.path("secret"));
    let before = (tree(&files), tree(&secret));
    let good = ("good", Regular, "", 10);
    let cases: [(&str, Vec<_>); 13] = [
        ("climbs", vec![good, ("../secret/new", Regular, "", 1)]),
        ("climbs later", vec![good, ("sub/../../secret/new", Regular, "", 1)]),
        ("absolute", vec![good, ("/tmp/punchd-hostile", Regular, "", 1)]),
        ("link out", vec![good, ("out", Symlink, "/etc", 0)]),
        (
            "through a link of its own",
            vec![("o", Symlink, "../secret", 0), ("o/new", Regular, "", 1)],
        ),
        ("through a link that is there", vec![good, ("link/new", Regular, "", 1)]),
        ("over a link that is there", vec![good, ("link-to-file", Directory, "", 0)]),
        ("hard link", vec![good, ("h", Link, "/etc/passwd", 0)]),
        ("pipe", vec![good, ("p", Fifo, "", 0)]),
        ("device", vec![good, ("d", Char, "", 0), ("b", Block, "", 0)]),
        ("twice", vec![good, good]),
        ("bomb", vec![good, ("bomb", Regular, "", 7 << 20)]),
        ("larger than allowed", vec![good, ("large", Regular, "", 9 << 20)]),
    ];
    let asked = cases.iter().map(|(what, members)| {
        let name = what.replace(' ', "-");
        server.serve_file(&format!("{name}.tgz"), archive(members));
        (server.queue(&format!("PutFile {name}.tgz")), what)
    });
    for (id, what) in asked.collect::<Vec<_>>() {
        let (code, _) = answer(&server, &id);
        assert!(code < 0, "{what}: {code}");
    }
    assert!((tree(&files), tree(&secret)) == before);
    assert!(!Path::new("/tmp/punchd-hostile").exists());
    server.serve_file("good.tgz", archive(&[good]));
    assert!(returns(&server, "PutFile good.tgz") > 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(files.join("good")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    server.assert_strict();
}

#[test]
fn no_url_leads_elsewhere() {
    let server = server();
    // Somebody else's server on this machine: nobody may ever knock there.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let port = other.local_addr().unwrap().port();
    let terminal = terminal(&server, "urls = [\"http://files.example/terminals\"]");
    let host = server.url();
    let own = host.trim_start_matches("http://");
    let urls = [
        format!("http://127.0.0.1:{port}/x"),
        format!("http://127.0.0.1:{port}@{own}/x"),
        format!("http://{own}@127.0.0.1:{port}/x"),
        format!("HTTP://127.0.0.1:{port}/x"),
        format!("https://{own}/x"),
        "http://files.example/terminals/../x".into(),
        "http://files.example/terminals/%2e%2E/x".into(),
        "http://files.example/terminalsx/x".into(),
        "http://files.example:81/terminals/x".into(),
        "http:///x".into(),
        "http://[::1/x".into(),
        format!("http://localhost:{port}/x"),
    ];
    let asked = urls.iter().flat_map(|url| {
        let photo = format!("DATA UPDATE BIOPHOTO PIN=1\tType=9\tFormat=1\tUrl={url}");
        [format!("PutFile {url}\tx"), photo].map(|text| (server.queue(&text), text))
    });
    for (id, text) in asked.collect::<Vec<_>>() {
        let (code, _) = answer(&server, &id);
        assert!(code == -1002 || code == -1, "{text}: {code}");
    }
    // What is no http at all is a path at the server, and so is what looks like another host.
    for url in ["file:///etc/passwd", "//127.0.0.1/x", "ftp://127.0.0.1/x", "http:/127.0.0.1/x"] {
        server.fault(Fault::new(
            On::file(),
            Act::Answer { status: 200, body: "mine".into(), fields: vec![] },
        ));
        assert_eq!(returns(&server, &format!("PutFile {url}\tx")), 4, "{url}");
    }
    assert!(targets(&server, "file").iter().all(|target| target.starts_with("/iclock/")));
    // A redirect is not followed.
    let moved = ("Location".to_owned(), format!("http://127.0.0.1:{port}/x"));
    let redirect = Act::Answer { status: 302, body: String::new(), fields: vec![moved] };
    server.serve_file("y", "mine");
    server.fault(Fault::new(On::file(), redirect));
    assert_eq!(returns(&server, "PutFile y\ty"), 4);
    assert!(terminal.log().contains("302"), "{}", terminal.log());
    assert!(other.accept().is_err());
}
