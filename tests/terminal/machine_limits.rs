//! Where the machine has no more: no inodes, no descriptors, little memory. What cannot be done is refused
//! with a reason, punches go on, and all goes on when there is room again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::harness::{
    RawAnswer, RawServer, TIMEOUT, Terminal, base64, jpeg, noise, options, replies_in, returns_all,
    says, second, server, until,
};

/// What a server asks for until it is answered, and the codes that came for it.
#[derive(Clone, Default)]
struct Asking {
    asked: Arc<Mutex<Vec<(String, String)>>>,
    codes: Arc<Mutex<BTreeMap<String, Vec<i64>>>>,
}

impl Asking {
    fn serve(&self) -> RawServer {
        let it = self.clone();
        RawServer::start(move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => {
                let asked = it.asked.lock().unwrap();
                let list: String =
                    asked.iter().map(|(id, text)| format!("C:{id}:{text}\n")).collect();
                says(200, if list.is_empty() { "OK".into() } else { list })
            }
            request if request.target.contains("/devicecmd") => {
                for (id, codes) in replies_in(std::slice::from_ref(request)) {
                    it.asked.lock().unwrap().retain(|(asked, _)| *asked != id);
                    it.codes.lock().unwrap().entry(id).or_default().extend(codes);
                }
                says(200, "OK")
            }
            request if request.target.contains("file.bin") => RawAnswer::Bytes(noise(100_000)),
            request => says(200, format!("OK:{}", request.lines().len())),
        })
    }

    fn ask(&self, commands: &[(&str, String)]) {
        let commands = commands.iter().map(|(id, text)| ((*id).to_owned(), text.clone()));
        self.asked.lock().unwrap().extend(commands);
    }

    /// Both leave a file of the name of their id, which begins with this.
    fn ask_for_shell_and_file(&self, files: &Path, name: &str) -> [String; 2] {
        let ids = [format!("{name}-shell"), format!("{name}-file")];
        let [shell, file] = ids.clone().map(|id| files.join(id).display().to_string());
        self.ask(&[
            (&ids[0], format!("SHELL echo x >> {shell}")),
            (&ids[1], format!("PutFile file.bin\t{file}")),
        ]);
        ids
    }

    /// Whether such a command was done: once and whole, and answered so; or it was not, and refused.
    fn was_done(&self, files: &Path, id: &str) -> bool {
        let expected = if id.ends_with("shell") { b"x\n".to_vec() } else { noise(100_000) };
        let codes = self.codes(id);
        assert_eq!(codes.len(), 1, "{id}");
        let file = fs::read(files.join(id)).ok();
        assert_eq!(file.is_some(), codes[0] >= 0, "{id}: {codes:?}");
        assert!(file.as_ref().is_none_or(|file| *file == expected), "{id} is not whole");
        file.is_some()
    }

    fn codes(&self, id: &str) -> Vec<i64> {
        self.codes.lock().unwrap().get(id).cloned().unwrap_or_default()
    }

    fn until_all_answered(&self, terminal: &Terminal) {
        let is_done = || self.asked.lock().unwrap().is_empty();
        let more = || format!("{:?}: {}", self.codes.lock().unwrap(), terminal.log());
        until("all answered", is_done, more);
    }
}

/// The PINs of punches at the server, in order.
fn pins(server: &RawServer) -> Vec<String> {
    let rows = server.requests().into_iter().filter(|it| it.is_upload("ATTLOG"));
    let rows = rows.flat_map(|request| request.lines());
    rows.map(|row| row.split('\t').next().unwrap().to_owned()).collect()
}

fn until_punches_are(server: &RawServer, terminal: &Terminal, expected: &[String]) {
    let all_came = || pins(server).len() >= expected.len();
    until("uploaded", all_came, || format!("{:?}: {}", pins(server), terminal.log()));
    assert_eq!(pins(server), expected);
}

#[test]
fn without_inodes_punches_go_on_and_downloads_are_refused() {
    let asking = Asking::default();
    let server = asking.serve();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("disk/files");
    let more =
        format!("[commands]\nput_dirs = [{files:?}]\n[limits]\nstart_spread = 0\nfree_mib = 2\n");
    terminal.configure(&server.url(), &more);
    if !terminal.run_on_a_disk("size=16m,nr_inodes=32") {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    terminal.wait_until_online();
    let disk = format!("/proc/{}/root{}", terminal.pid(), terminal.path("disk").display());
    fs::create_dir(format!("{disk}/files")).unwrap();
    let others = (0..32).map(|nth| format!("{disk}/other{nth}"));
    let others: Vec<String> = others.take_while(|name| fs::write(name, "").is_ok()).collect();
    assert!((1..32).contains(&others.len()), "{} files are the last", others.len());
    let mut driver = terminal.driver();
    for nth in 1..=20 {
        driver.punch(&format!("{nth}"), &second(nth));
    }
    asking.ask(&[
        ("put", format!("PutFile file.bin\t{}/put", files.display())),
        ("user", "DATA UPDATE USERINFO PIN=1".into()),
    ]);
    let is_told = || terminal.log().contains("No space left on device");
    until("told", is_told, || terminal.log());
    until("done", || asking.codes("user") == [0], || terminal.log());
    for nth in 21..=40 {
        driver.punch(&format!("{nth}"), &second(nth));
    }
    until_punches_are(&server, &terminal, &(1..=40).map(|nth| nth.to_string()).collect::<Vec<_>>());
    assert_eq!(terminal.status()["attention"], json!([]));
    for other in others {
        fs::remove_file(other).unwrap();
    }
    asking.until_all_answered(&terminal);
    assert!(fs::read(format!("{disk}/files/put")).unwrap() == noise(100_000));
}

#[test]
fn a_first_start_without_an_inode_ends_with_the_file_and_the_reason() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:9", "");
    let Some(command) = terminal.command_on_a_disk("size=16m,nr_inodes=1") else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let status = terminal.try_run_as(command).unwrap_err();
    assert_eq!(status.code(), Some(73), "{}", terminal.log());
    let log = terminal.log();
    assert!(log.contains("disk/punchd.db") && log.contains("not full"), "{log}");
}

fn limit_descriptors(terminal: &Terminal, most: u64) {
    let limit = Rlimit { current: Some(most), maximum: Some(1024) };
    prlimit(Pid::from_raw(terminal.pid() as i32), Resource::Nofile, limit).unwrap();
}

#[test]
fn without_descriptors_each_thing_is_refused_with_the_reason_and_punches_go_on() {
    let asking = Asking::default();
    let server = asking.serve();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    fs::create_dir(&files).unwrap();
    let more = format!("[commands]\nshell = \"allow\"\nput_dirs = [{files:?}]\n");
    terminal.configure(&server.url(), &more);
    terminal.run();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    driver.call("status", json!({})).unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", terminal.pid())).unwrap().count() as u64;
    let (mut nth, mut refused) = (0, 0);
    for more in 0..6 {
        // Those that are open stay.
        limit_descriptors(&terminal, open - 1 + more);
        let commands = asking.ask_for_shell_and_file(&files, &format!("few{more}"));
        let mut punch_and_wait = |is_over: &dyn Fn() -> bool| {
            for _ in 0..10 {
                nth += 1;
                driver.punch(&nth.to_string(), &second(nth));
            }
            until("told or over", is_over, || terminal.log());
        };
        // Without one for a connection nothing is answered, without one for a file the download waits; and
        // the reason is told.
        let times_told = || terminal.log().matches("Too many open files").count();
        let told_before = times_told();
        let are_over = || commands.iter().all(|id| !asking.codes(id).is_empty());
        punch_and_wait(&|| are_over() || times_told() > told_before);
        punch_and_wait(&|| true);
        assert!(more > 0 || times_told() > told_before, "{}", terminal.log());
        limit_descriptors(&terminal, 1024);
        asking.until_all_answered(&terminal);
        let expected: Vec<String> = (1..=nth).map(|nth| nth.to_string()).collect();
        until_punches_are(&server, &terminal, &expected);
        refused += commands.iter().filter(|id| !asking.was_done(&files, id)).count();
        let commands = asking.ask_for_shell_and_file(&files, &format!("all{more}"));
        asking.until_all_answered(&terminal);
        assert!(commands.iter().all(|id| asking.was_done(&files, id)), "{}", terminal.log());
    }
    println!("{open} descriptors are open; {refused} of 12 commands were refused with 0 to 5 more");
    assert!(refused > 0, "nothing was refused");
    terminal.wait_for("all well", |status| {
        status["attention"] == json!([]) && status["failing"].is_null()
    });
}

/// What the program may map, in KiB (`ulimit -v`): half of a terminal of 64 MB. The debug build maps more than
/// the one that ships.
const ADDRESS_SPACE: u32 = 32 << 10;

#[test]
fn all_of_it_is_done_within_the_address_space_of_a_small_terminal() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    fs::create_dir(&files).unwrap();
    let more = format!(
        "[commands]\nget_file = \"allow\"\nshell = \"allow\"\nput_dirs = [{files:?}]\nget_dirs = [{files:?}]\n"
    );
    terminal.configure(&server.url(), &more);
    let run = terminal.command(&["run"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {ADDRESS_SPACE} && exec \"$0\" \"$@\"")]);
    shell.arg(run.get_program()).args(run.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    terminal.try_run_as(shell).unwrap();
    // The longest command that is taken, a large download, its way back, people with large pictures.
    let face = base64(jpeg(1_000_000));
    let size = face.len();
    server.serve_file("large.bin", noise(20_000_000));
    let people: String = (2..2_000).map(|nth| format!("\nPIN={nth}\tName=Person {nth}")).collect();
    let commands = [
        format!("DATA UPDATE USERINFO PIN=1{people}"),
        format!("DATA UPDATE BIOPHOTO PIN=1\tType=9\tSize={size}\tContent={face}"),
        format!("PutFile large.bin\t{}/large", files.display()),
        format!("GetFile {}/large", files.display()),
        "DATA QUERY USERINFO".to_owned(),
        format!("SHELL head -c 40000 {}/large | base64 -w 0", files.display()),
    ];
    let mut driver = terminal.driver();
    let photo = base64(jpeg(2_000_000));
    for nth in 1..=200 {
        driver.punch(&nth.to_string(), &second(nth));
        if nth % 50 == 0 {
            driver.call("photo", json!({"pin": "1", "time": second(nth), "data": photo})).unwrap();
        }
    }
    let codes = returns_all(&server, &commands);
    assert!(codes.iter().all(|code| *code >= 0), "{codes:?}: {}", terminal.log());
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 200));
    terminal.wait_for("all sent", |status| status["streams"]["photos"]["pending"] == 0);
    let (mapped, resident) = (terminal.proc("status", "VmPeak"), terminal.proc("status", "VmHWM"));
    println!("mapped {mapped} KiB at most, resident {resident} KiB");
    assert!(mapped <= u64::from(ADDRESS_SPACE));
}
