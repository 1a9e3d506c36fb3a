//! `punchd check --strict`: the settings that are weaker than they can be.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::Terminal;

/// What is named, by its key, of a terminal with this server and these lines.
fn named(url: &str, more: &str) -> (i32, String) {
    let terminal = Terminal::prepare(url, more);
    fs::create_dir(terminal.path("files")).unwrap();
    let text = fs::read_to_string(terminal.path("punchd.toml")).unwrap();
    let files = terminal.path("files").display().to_string();
    fs::write(terminal.path("punchd.toml"), text.replace("FILES", &files)).unwrap();
    let output = terminal.punchd(&["check", "--strict"]);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A site as `docs/security.md` has it, but for the paths.
const HARDENED: &str = "clock = \"system\"\n\
    [tls]\npin = [\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]\n\
    [upgrade]\npublic_key = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n\
    [commands]\nput_file = \"deny\"\n\
    [drivers]\nmode = \"0660\"\nrecord = [\"0\"]\npeople = [\"@0\"]\nmaintain = []\n";

#[test]
fn a_hardened_site_has_nothing_that_is_weaker() {
    let (code, message) = named("https://127.0.0.1:9", HARDENED);
    assert_eq!((code, message.as_str()), (0, ""));
}

#[test]
fn each_setting_that_is_weaker_is_named_with_what_to_set() {
    let with = |line: &str, other: &str| HARDENED.replace(line, other);
    for (url, more, key) in [
        ("http://127.0.0.1:9", HARDENED.to_owned(), "server: with http://"),
        (
            "http://127.0.0.1:9",
            with("clock = \"system\"", "clock = \"server\""),
            "clock: with http://",
        ),
        ("https://127.0.0.1:9", with("pin = [", "# pin = ["), "[tls]: every public authority"),
        (
            "https://127.0.0.1:9",
            with("put_file = \"deny\"", "put_dirs = [\"FILES\"]"),
            "[commands] put_file",
        ),
        (
            "https://127.0.0.1:9",
            with("put_file", "shell = \"allow\"\nput_file"),
            "[commands] shell",
        ),
        (
            "https://127.0.0.1:9",
            with("put_file", "get_file = \"allow\"\nput_file"),
            "[commands] get_file",
        ),
        (
            "https://127.0.0.1:9",
            with("put_file", "clear_data = \"allow\"\nput_file"),
            "[commands] clear_data",
        ),
        (
            "https://127.0.0.1:9",
            with("put_file", "urls = [\"http://h/\"]\nput_file"),
            "[commands] urls",
        ),
        (
            "https://127.0.0.1:9",
            with("public_key", "command = [\"/bin/true\"]\n# public_key"),
            "[upgrade]: punchd",
        ),
        (
            "https://127.0.0.1:9",
            with("public_key", "downgrade = \"allow\"\npublic_key"),
            "[upgrade] downgrade",
        ),
        ("https://127.0.0.1:9", with("0660", "0666"), "[drivers] mode"),
        ("https://127.0.0.1:9", with("record = [\"0\"]\n", ""), "[drivers] record"),
        ("https://127.0.0.1:9", with("people = [\"@0\"]\n", ""), "[drivers] people"),
        ("https://127.0.0.1:9", with("maintain = []\n", ""), "[drivers] maintain"),
        (
            "https://127.0.0.1:9",
            HARDENED.to_owned() + "[verification]\nfallback = \"allow\"\n",
            "[verification] fallback",
        ),
        (
            "https://u:p@127.0.0.1:9",
            HARDENED.to_owned(),
            "every user can read the secret in server",
        ),
    ] {
        let (code, message) = named(url, &more);
        assert_eq!(code, 1, "{key}: {message}");
        // With http:// the clock is named besides.
        let lines = 1 + usize::from(key.starts_with("clock"));
        assert_eq!(message.lines().count(), lines, "{key}: {message}");
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn nobody_but_its_owner_can_read_a_new_store_and_one_that_others_can_read_is_named() {
    let server = crate::harness::server();
    let mut terminal = Terminal::start(&server, "");
    terminal.driver().punch("7", &crate::harness::second(1));
    let mode = |file: &str| fs::metadata(terminal.path(file)).unwrap().permissions().mode() & 0o777;
    for file in ["punchd.db", "punchd.db-wal", "punchd.db.marker"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(mode("punchd.db.files"), 0o700);
    terminal.stop();
    fs::set_permissions(terminal.path("punchd.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let message = String::from_utf8(terminal.punchd(&["check", "--strict"]).stderr).unwrap();
    assert!(message.contains("store: others than its owner"), "{message}");
}
