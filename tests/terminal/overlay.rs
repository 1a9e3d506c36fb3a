//! The scripts of `rootfs-overlay`, run by this machine's `sh`, in a directory in place of `/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{program, until};

/// A root with the overlay on it, and a program in punchd's place.
struct Root(PathBuf);

impl Root {
    fn new(program: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let root =
            std::env::temp_dir().join(format!("punchd-overlay-{}-{nth}", std::process::id()));
        let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-overlay");
        let root = Self(root);
        for name in ["etc/init.d/S60punchd", "usr/lib/punchd/respawn", "usr/lib/punchd/upgrade"] {
            let mut text = fs::read_to_string(overlay.join(name)).unwrap();
            for place in [
                "/etc/default",
                "/etc/fstab",
                "/etc/punchd",
                "/usr/bin",
                "/usr/lib",
                "/var/lib",
                "/run/punchd",
                "/proc/mounts",
            ] {
                let there = format!("{}{place}", root.0.display());
                // Not where it is part of a longer path.
                for before in ["=", " ", "\n"] {
                    text = text.replace(&format!("{before}{place}"), &format!("{before}{there}"));
                }
            }
            root.script(name, &text);
        }
        root.script("usr/bin/punchd", &format!("#!/bin/sh\n{program}\n"));
        fs::create_dir_all(root.path("proc")).unwrap();
        fs::write(root.path("proc/mounts"), "").unwrap();
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        program(&path, text);
    }

    fn init(&self, what: &str) {
        let status = Command::new(self.path("etc/init.d/S60punchd"))
            .arg(what)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    }

    fn upgrade(&self, file: &Path) -> Output {
        Command::new(self.path("usr/lib/punchd/upgrade")).arg(file).output().unwrap()
    }

    /// Nothing of this root runs, but for what the log still has to take in.
    fn is_quiet(&self) {
        until("quiet", || self.processes().is_empty(), || self.processes().join("\n"));
    }

    /// The processes that have something of this root on their command line.
    fn processes(&self) -> Vec<String> {
        let mine = self.0.display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&mine))
            .collect()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.init("stop");
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    until(what, condition, String::new);
}

#[test]
fn nothing_runs_on_after_stop() {
    let deaf = "trap '' TERM; echo $1 >>\"$0.runs\"; [ $1 = check ] || while :; do sleep 1; done";
    // The second is stopped in the pause after its end.
    for program in [deaf, "echo $1 >>\"$0.runs\""] {
        let root = Root::new(program);
        fs::write(root.path("etc/punchd.drivers"), "# none\npunchd card-reader x").unwrap();
        root.init("start");
        let ran = || fs::read_to_string(root.path("usr/bin/punchd.runs")).unwrap_or_default();
        wait_for("punchd and its driver", || {
            ran().contains("run\n") && ran().contains("card-reader\n")
        });
        root.init("stop");
        root.is_quiet();
    }
}

#[test]
fn stop_stops_what_was_started_just_before() {
    for _ in 0..10 {
        let root = Root::new("[ $1 = check ] || exec sleep 100");
        root.init("start");
        root.init("stop");
        root.is_quiet();
    }
}

#[test]
fn syslog_gets_priorities_and_no_second_time() {
    let root = Root::new(
        r#"[ $1 != check ] || exit
        printf '%s\n' '2026-11-27 06:51:05 terminal T1 runs' \
            '2026-11-27 06:51:06 warning: no answer from * -n %s \n' \
            '(clock not set) error: the store failed' '' \
            '-t: words of a driver  with two spaces' 'the last line'
        exec sleep 100"#,
    );
    // One line for each call: the options, and the message as one word.
    let said = root.path("said");
    let logger = r#"#!/bin/sh
        while [ "$1" != -- ]; do printf '%s ' "$1"; shift; done >>SAID; shift
        printf '<%s>\n' "$@" >>SAID"#;
    root.script("usr/bin/logger", &logger.replace("SAID", &said.display().to_string()));
    root.init("start");
    let said = || fs::read_to_string(&said).unwrap_or_default();
    wait_for("the last line", || said().contains("the last line>"));
    assert_eq!(
        said(),
        r"-t punchd -p daemon.info <terminal T1 runs>
-t punchd -p daemon.warning <warning: no answer from * -n %s \n>
-t punchd -p daemon.err <error: the store failed>
-t punchd -p daemon.info <-t: words of a driver  with two spaces>
-t punchd -p daemon.info <the last line>
"
    );
}

#[test]
fn it_is_started_again_when_nobody_takes_in_the_log() {
    let root = Root::new("echo $1 >>\"$0.runs\"; echo words");
    let mut child = Command::new(root.path("usr/lib/punchd/respawn"))
        .args([root.path("pid"), root.path("usr/bin/punchd")])
        .arg("run")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let runs = || fs::read_to_string(root.path("usr/bin/punchd.runs")).unwrap_or_default();
    wait_for("a third run", || runs().lines().count() >= 3);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    child.wait().unwrap();
}

#[test]
fn a_store_is_begun_only_on_the_disk_where_it_belongs() {
    let root = Root::new("[ $1 = check ] || { echo >\"$0.ran\"; exec sleep 100; }");
    let store = root.path("var/lib/punchd");
    let tab = format!("# {0} is\n/dev/null  {0}\text4 noatime 0 2\n", store.display());
    fs::write(root.path("etc/fstab"), tab).unwrap();
    // It tries to mount it each time, and waits.
    root.script("usr/bin/mount", "#!/bin/sh\necho >>\"$0.ran\"\n");
    root.init("start");
    let tries = || fs::read(root.path("usr/bin/mount.ran")).map_or(0, |lines| lines.len());
    wait_for("a second try", || tries() >= 2);
    assert!(!root.path("usr/bin/punchd.ran").exists());
    assert!(!store.exists());
    fs::write(root.path("proc/mounts"), format!("/dev/x {} ext4 rw 0 0\n", store.display()))
        .unwrap();
    wait_for("punchd", || root.path("usr/bin/punchd.ran").exists());
    assert!(store.join("files").exists());
}

#[test]
fn a_disk_that_is_named_must_be_there_wherever_it_is() {
    let root = Root::new("[ $1 = check ] || { echo >\"$0.ran\"; exec sleep 100; }");
    let disk = root.path("data");
    fs::create_dir_all(root.path("etc/default")).unwrap();
    let settings = format!("DISK={0}\nSTORE={0}/punchd\n", disk.display());
    fs::write(root.path("etc/default/punchd"), settings).unwrap();
    // It tries to mount it each time, and waits.
    root.script("usr/bin/mount", "#!/bin/sh\necho >>\"$0.ran\"\n");
    root.init("start");
    let tries = || fs::read(root.path("usr/bin/mount.ran")).map_or(0, |lines| lines.len());
    wait_for("a second try", || tries() >= 2);
    assert!(!root.path("usr/bin/punchd.ran").exists());
    assert!(!disk.exists());
    let mounts = format!("/dev/x {} ext4 rw 0 0\n", disk.display());
    fs::write(root.path("proc/mounts"), mounts).unwrap();
    wait_for("punchd", || root.path("usr/bin/punchd.ran").exists());
    assert!(disk.join("punchd/files").exists());
}

#[test]
fn an_upgrade_is_a_whole_punchd_or_none() {
    let old = "[ $1 = check ] || echo punchd 1";
    let root = Root::new(old);
    let program = root.path("usr/bin/punchd");
    let before = fs::read(&program).unwrap();
    fs::create_dir_all(root.path("etc/default")).unwrap();
    fs::write(root.path("etc/default/punchd"), "UNSIGNED=allow\n").unwrap();
    for (name, text) in [
        ("empty", ""),
        ("nonsense", "#!/bin/sh\nexit 1\n"),
        ("another program", "#!/bin/sh\necho busybox 1\n"),
        ("one that minds the configuration", "#!/bin/sh\n[ $1 != check ] && echo punchd 2\n"),
    ] {
        root.script("new", text);
        assert!(!root.upgrade(&root.path("new")).status.success(), "{name}");
        assert!(fs::read(&program).unwrap() == before, "{name}");
        assert!(!root.path("usr/bin/punchd.new").exists(), "{name}");
    }
    root.script("new", "#!/bin/sh\n[ $1 = check ] || echo punchd 2\n");
    // Nobody can say who made it; or somebody can, and it was somebody else.
    fs::remove_file(root.path("etc/default/punchd")).unwrap();
    let message = String::from_utf8(root.upgrade(&root.path("new")).stdout).unwrap();
    assert!(message.contains("nobody can say who made"), "{message}");
    root.script("usr/lib/punchd/verify", "#!/bin/sh\nexit 1\n");
    fs::write(root.path("etc/default/punchd"), "UNSIGNED=allow\n").unwrap();
    assert!(!root.upgrade(&root.path("new")).status.success());
    assert!(fs::read(&program).unwrap() == before);
    fs::remove_file(root.path("usr/lib/punchd/verify")).unwrap();
    // punchd tries it first, and has checked its signature.
    let (place, hook) = (root.path("usr/bin/punchd.new"), root.path("usr/lib/punchd/upgrade"));
    fs::remove_file(root.path("etc/default/punchd")).unwrap();
    let mut tried = Command::new(&hook);
    tried.arg(root.path("new")).env("PUNCHD_UPGRADE_SIGNED", "1").env("PUNCHD_TRIAL", &place);
    assert!(tried.status().unwrap().success());
    assert!(fs::read(&place).unwrap() == fs::read(root.path("new")).unwrap());
    assert!(fs::read(&program).unwrap() == before);
    fs::write(root.path("etc/default/punchd"), "UNSIGNED=allow\n").unwrap();
    // A chunk of it is there already: it was cut off. And it is run again when it was done.
    fs::write(root.path("usr/bin/punchd.new"), "#!/b").unwrap();
    for _ in 0..2 {
        let done = root.upgrade(&root.path("new"));
        assert!(done.status.success(), "{done:?}");
        assert!(fs::read(&program).unwrap() == fs::read(root.path("new")).unwrap());
        assert!(fs::read(root.path("usr/bin/punchd.old")).unwrap() == before);
    }
}
