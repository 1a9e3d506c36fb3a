//! A terminal on a small disk of its own, and a server that asks for a command of each kind until it is
//! done: for a disk, or a store, that is full.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::{
    RawAnswer, RawServer, Terminal, base64, finger, jpeg, noise, options, replies_in, replies_to,
    says, script, until,
};

/// Commands that the server asks for until they are done, by their ids.
pub type Asked = Arc<Mutex<Vec<(&'static str, String)>>>;

fn asks(asked: &Asked, is_slow: &Arc<AtomicBool>) -> RawServer {
    let (asked, is_slow) = (Arc::clone(asked), Arc::clone(is_slow));
    RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => {
            let asked = asked.lock().unwrap();
            let list: String = asked.iter().map(|(id, text)| format!("C:{id}:{text}\n")).collect();
            says(200, if list.is_empty() { "OK".into() } else { list })
        }
        request if request.target.contains("/devicecmd") => {
            let replies = replies_in(std::slice::from_ref(request));
            let is_done = |id: &str| replies.get(id).is_some_and(|codes| codes[0] >= 0);
            asked.lock().unwrap().retain(|(id, _)| !is_done(id));
            says(200, "OK")
        }
        // Photos stay: they fill the store.
        request if request.is_upload("ATTPHOTO") => says(500, "later"),
        request if request.target.contains("photo.jpg") => RawAnswer::Bytes(jpeg(30_000)),
        request if request.target.contains("slow") && is_slow.load(SeqCst) => RawAnswer::Closes,
        request if request.target.contains("slow") => says(200, "DATA DELETE USERINFO PIN=77\n"),
        request if request.target.contains("list") => says(200, "DATA UPDATE USERINFO PIN=9\n"),
        _ => says(200, "OK"),
    })
}

/// A terminal with all that commands can ask for, on a disk of its own.
pub struct EveryCommand {
    /// What the server asks for now.
    pub asked: Asked,
    /// The file `slow` does not come yet.
    pub is_slow: Arc<AtomicBool>,
    /// The server.
    pub server: RawServer,
    /// The terminal.
    pub terminal: Terminal,
    /// How often drivers were asked for each thing.
    requests: Arc<[AtomicUsize; 4]>,
}

const REQUESTS: [&str; 4] = ["unlock", "unalarm", "fingerprint", "card"];

impl EveryCommand {
    /// `None` where no file system can be mounted.
    pub fn start(limits: &str) -> Option<Self> {
        let (asked, is_slow) = (Asked::default(), Arc::new(AtomicBool::new(true)));
        let server = asks(&asked, &is_slow);
        let mut terminal = Terminal::prepare(&server.url(), "");
        let (files, reboot) = (terminal.path("disk/files"), terminal.path("reboot"));
        script(&reboot, "echo x >> \"$0.ran\"");
        let configuration = format!(
            "[device]\nreboot = [{reboot:?}]\n[commands]\nshell = \"allow\"\nclear_data = \"allow\"\n\
             get_file = \"allow\"\nput_dirs = [{files:?}]\nget_dirs = [{files:?}]\n[limits]\n\
             start_spread = 0\n{limits}"
        );
        terminal.configure(&server.url(), &configuration);
        if !terminal.run_on_a_disk("size=16m") {
            return None;
        }
        let every = Self { asked, is_slow, server, terminal, requests: Arc::default() };
        fs::create_dir(every.disk("files")).unwrap();
        fs::write(every.disk("files/there"), "content").unwrap();
        every.terminal.wait_until_online();
        every.serve_requests();
        Some(every)
    }

    fn serve_requests(&self) {
        let (mut driver, requests) = (self.terminal.driver(), Arc::clone(&self.requests));
        driver.call("register", json!({"name": "all", "provides": REQUESTS})).unwrap();
        thread::spawn(move || {
            while let Some(request) = driver.receive() {
                let Some(id) = request["id"].as_u64() else { continue };
                let (method, kind) = (&request["method"], &request["params"]["kind"]);
                let result = match (method.as_str(), kind.as_str()) {
                    (Some("enroll"), Some("card")) => json!({"outcome": "done", "card": "77"}),
                    (Some("enroll"), _) => finger(3),
                    _ => json!(true),
                };
                let is_it = |thing: &&str| method == *thing || kind == *thing;
                let nth = REQUESTS.iter().position(is_it).unwrap();
                requests[nth].fetch_add(1, SeqCst);
                driver.reply(id, result);
            }
        });
    }

    /// A file of the disk, seen from outside of the program.
    pub fn disk(&self, name: &str) -> PathBuf {
        let inside = self.terminal.path("disk").join(name);
        format!("/proc/{}/root{}", self.terminal.pid(), inside.display()).into()
    }

    /// Asks for commands, and waits until each is done.
    pub fn returns(&self, commands: Vec<(&'static str, String)>) {
        *self.asked.lock().unwrap() = commands;
        let more = || format!("{:?}: {}", self.asked.lock().unwrap(), self.terminal.log());
        until("all done", || self.asked.lock().unwrap().is_empty(), more);
    }

    /// Leaves so many KiB of the log behind its last frame, and nothing of the disk.
    pub fn fill_disk(&self, room: Option<u64>) -> File {
        if let Some(room) = room {
            const FRAME: usize = 24 + 1024;
            let log = fs::read(self.disk("punchd.db-wal")).unwrap();
            let frames = log[32..].chunks_exact(FRAME);
            let end = 32 + FRAME * frames.take_while(|frame| frame[8..16] == log[16..24]).count();
            let log = File::options().write(true).open(self.disk("punchd.db-wal")).unwrap();
            log.set_len(end as u64 + (room << 10)).unwrap();
        }
        let other = File::create(self.disk("other")).unwrap();
        let (mut chunk, mut at) = (1 << 20, 0);
        while chunk > 0 {
            match other.write_at(&noise(chunk), at) {
                Ok(written) => at += written as u64,
                Err(_) => chunk /= 2,
            }
        }
        other
    }

    /// What took effect, by the id of the command, and how often.
    pub fn done(&self) -> BTreeMap<&'static str, usize> {
        let mut driver = self.terminal.driver();
        let mut call = |method: &str, params: Value| driver.call(method, params).unwrap();
        let changes = call("changes", json!({"after": 0}));
        let has = |what: &str, key: &str, value: Value| {
            let all = changes[what].as_array().unwrap();
            usize::from(all.iter().any(|it| it[key] == value))
        };
        let user = |pin: &str| has("users", "pin", json!(pin));
        let lines =
            |name| fs::read_to_string(self.terminal.path(name)).unwrap_or_default().len() / 2;
        let asked = |nth: usize| self.requests[nth].load(SeqCst);
        assert_eq!(user("3"), user("4"), "one of two records was done");
        assert_eq!(user("5"), user("6"), "one of two records was done");
        let put = fs::read(self.disk("files/put")).map_or(0, |put| {
            assert!(put == jpeg(30_000), "the file is not whole");
            1
        });
        BTreeMap::from([
            ("user", user("2")),
            ("people", user("3")),
            ("delete", 1 - user("5")),
            ("append", user("9")),
            ("finger", has("templates", "number", json!(1))),
            ("palm", has("templates", "type", json!(8))),
            ("option", usize::from(!call("option.get", json!({"name": "Volume"})).is_null())),
            ("put", put),
            ("shell", lines("ran")),
            ("reboot", lines("reboot.ran")),
            ("unlock", asked(0)),
            ("unalarm", asked(1)),
            ("enrol-finger", asked(2)),
            ("enrol-card", asked(3)),
        ])
    }

    /// A command of each kind, `CLEAR DATA` apart.
    pub fn commands(&self) -> Vec<(&'static str, String)> {
        let (files, ran) = (self.terminal.path("disk/files"), self.terminal.path("ran"));
        let (files, ran) = (files.display(), ran.display());
        let picture = base64(jpeg(9_000));
        let picture = format!("Size={}\tContent={picture}", picture.len());
        let times = "StartTime=2026-01-01 00:00:00\tEndTime=2027-01-01 00:00:00";
        let template = "Size=4\tValid=1\tTMP=QUJD";
        [
            ("user", "DATA UPDATE USERINFO PIN=2"),
            ("people", "DATA UPDATE USERINFO PIN=3\nPIN=4"),
            ("delete", "DATA DELETE USERINFO PIN=5\nPIN=6"),
            ("finger", &format!("DATA UPDATE FINGERTMP PIN=1\tFID=1\t{template}")),
            ("face", &format!("DATA UPDATE FACE PIN=1\tFID=2\t{template}")),
            ("palm", "DATA UPDATE BIODATA Pin=1\tNo=0\tIndex=0\tValid=1\tType=8\tMajorVer=1\tMinorVer=0\tFormat=0\tTmp=QUJD"),
            ("picture", &format!("DATA UPDATE USERPIC PIN=1\t{picture}")),
            ("photo", &format!("DATA UPDATE BIOPHOTO PIN=1\tType=9\t{picture}")),
            ("url", "DATA UPDATE BIOPHOTO PIN=1\tType=9\tFormat=1\tUrl=/photo.jpg"),
            ("work", "DATA UPDATE WORKCODE PIN=1\tCODE=7\tNAME=Work"),
            ("message", "DATA UPDATE SMS MSG=hello\tTAG=253\tUID=1\tMIN=1\tStartTime=2026-01-01 00:00:00"),
            ("query", "DATA QUERY USERINFO PIN=1"),
            ("query-log", &format!("DATA QUERY ATTLOG {times}")),
            ("sum", &format!("VERIFY SUM ATTLOG {times}")),
            ("option", "SET OPTION Volume=7"),
            ("reload", "RELOAD OPTIONS"),
            ("check", "CHECK"),
            ("log", "LOG"),
            ("info", "INFO"),
            ("get", &format!("GetFile {files}/there")),
            ("put", &format!("PutFile photo.jpg\t{files}/put")),
            ("append", "PutFile list\t\tAction=AppendData"),
            ("shell", &format!("SHELL echo x >> {ran}; : {}", "x".repeat(3_000))),
            ("enrol-finger", "ENROLL_FP PIN=1\tFID=3\tRETRY=1\tOVERWRITE=1"),
            ("enrol-card", "ENROLL_MF PIN=1\tRETRY=1"),
            ("unlock", "AC_UNLOCK"),
            ("unalarm", "AC_UNALARM"),
            ("clear-log", "CLEAR LOG"),
            ("clear-photo", "CLEAR PHOTO"),
            ("reboot", "REBOOT"),
        ]
        .map(|(id, text)| (id, text.to_owned()))
        .to_vec()
    }

    /// A store of 4 MiB in which nothing but punches has room any more.
    pub fn fill_store(&self) {
        let (mut driver, mut bytes) = (self.terminal.driver(), 100_000);
        while bytes > 20 {
            let data = base64(jpeg(bytes));
            let photo = json!({"pin": "1", "time": "2026-11-02 00:00:00", "data": data});
            if let Err(refusal) = driver.call("photo", photo) {
                assert_eq!(refusal["code"], -1001);
                bytes /= 2;
            }
        }
    }

    /// Waits until each command was answered `times` times.
    pub fn answered(&self, count: usize, times: usize) -> BTreeMap<String, Vec<i64>> {
        let replies = || replies_to(&self.server);
        let all = || {
            let replies = replies();
            let is_over =
                |codes: &Vec<i64>| codes.len() >= times || codes.iter().any(|it| *it >= 0);
            replies.len() == count && replies.values().all(is_over)
        };
        until("answered", all, || format!("{:?}: {}", replies(), self.terminal.log()));
        replies()
    }
}
