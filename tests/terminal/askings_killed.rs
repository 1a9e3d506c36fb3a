//! SIGKILL while a server with fixed ids asks, repeats, and asks anew: at random moments, and on purpose
//! while a program runs, while a driver has the request for a door or an enrolment, and when the program
//! that reboots was started. Each asking takes effect once; a program, a door, an enrolment and a reboot
//! at most once, and 0 only if once. One kill can leave a reboot that was answered with 0 and is not done
//! (docs/promises.md, rule 4): it falls between the end of the request in the store and the start of the program.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Driver, RawServer, Terminal, finger, options, polls_of, replies_in, says, script, until,
};

#[test]
#[ignore = "slow: sixty kills"]
fn sixty_kills_over_renewed_askings() {
    // Most of the time is spent waiting for polls.
    thread::scope(|scope| {
        for seed in 1..=3 {
            scope.spawn(move || kills(20, seed));
        }
    });
}

#[test]
fn kills_over_renewed_askings() {
    thread::scope(|scope| {
        for seed in 1..=2 {
            scope.spawn(move || kills(4, seed));
        }
    });
}

/// When the terminal is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    /// While the program of SHELL runs.
    Shell,
    /// While the driver has the request for the door.
    Door,
    /// While the driver has the request for the enrolment.
    Enrolment,
    /// When the program that reboots was started.
    Reboot,
    /// At most so many milliseconds after the driver answered the enrolment.
    Enrolled(u64),
    /// So many milliseconds after the server began to ask.
    Asking(u64),
    /// So many milliseconds after the server took the answers and ceased to ask.
    Answered(u64),
}

/// What a driver was asked for.
#[derive(Default)]
struct Requests {
    came: AtomicUsize,
    answered: AtomicUsize,
    /// They are not answered for now.
    are_held: AtomicBool,
    is_over: AtomicBool,
}

impl Requests {
    /// A driver that registers with whatever terminal listens there, and answers as it should.
    fn serve(
        self: Arc<Self>,
        socket: PathBuf,
        provides: &'static str,
        result: Value,
    ) -> JoinHandle<()> {
        thread::spawn(move || {
            while !self.is_over.load(SeqCst) {
                self.serve_one_run(&socket, provides, &result);
                thread::sleep(Duration::from_millis(1));
            }
        })
    }

    /// Until the terminal ends.
    fn serve_one_run(&self, socket: &Path, provides: &str, result: &Value) -> Option<()> {
        let mut driver = Driver::try_connect(socket)?;
        let name = json!({"name": provides, "provides": [provides]});
        driver.try_call("register", &name)?.ok()?;
        loop {
            let request = driver.receive()?;
            if request["id"].is_null() {
                continue;
            }
            self.came.fetch_add(1, SeqCst);
            while self.are_held.load(SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            let reply = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
            driver.send(reply.to_string().as_bytes()).ok()?;
            self.answered.fetch_add(1, SeqCst);
        }
    }
}

/// A terminal, a server that sends `list` with each poll, and what was done so far.
struct Bench {
    terminal: Terminal,
    server: RawServer,
    list: Arc<Mutex<String>>,
    door: Arc<Requests>,
    sensor: Arc<Requests>,
    drivers: Vec<JoinHandle<()>>,
}

/// How often each was done.
#[derive(Clone, Copy, Debug)]
struct Done {
    shell: usize,
    shell_ended: usize,
    door: usize,
    enrolment: usize,
    enrolled: usize,
    reboot: usize,
    reboot_begun: usize,
}

impl Bench {
    fn start() -> Self {
        let list = Arc::<Mutex<String>>::default();
        let asked = Arc::clone(&list);
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => {
                let list = asked.lock().unwrap().clone();
                says(200, if list.is_empty() { "OK".into() } else { list })
            }
            _ => says(200, "OK"),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        let reboot = terminal.path("reboot");
        script(&reboot, "echo x >> \"$0.ran\"");
        let config =
            format!("[device]\nreboot = [\"{}\"]\n[commands]\nshell = \"allow\"", reboot.display());
        terminal.configure(&server.url(), &config);
        terminal.run();
        let socket = terminal.path("run/driver.sock");
        let (door, sensor) = (Arc::<Requests>::default(), Arc::<Requests>::default());
        let drivers = vec![
            Arc::clone(&door).serve(socket.clone(), "unlock", json!(true)),
            Arc::clone(&sensor).serve(socket, "fingerprint", finger(3)),
        ];
        Self { terminal, server, list, door, sensor, drivers }
    }

    /// The list of an asking: each command twice. The ids are those of every asking, but for one REBOOT:
    /// the same is done once an hour.
    fn list_of(&self, nth: u64) -> String {
        let (ran, hold) = (self.terminal.path("ran"), self.terminal.path("hold"));
        let (ran, hold) = (ran.display(), hold.display());
        let list = format!(
            "C:u:DATA UPDATE USERINFO PIN=1\tName=Ann\n\
             C:s:SHELL echo x >> {ran}; while [ -e {hold} ]; do sleep 0.02; done; echo x >> {ran}.ended\n\
             C:d:AC_UNLOCK\n\
             C:e:ENROLL_FP PIN=1\tFID=3\tRETRY=1\tOVERWRITE=1\n\
             C:b{nth}:REBOOT\nC:hourly:REBOOT\n"
        );
        list.repeat(2)
    }

    fn done(&self) -> Done {
        let lines =
            |name| std::fs::read_to_string(self.terminal.path(name)).unwrap_or_default().len() / 2;
        Done {
            shell: lines("ran"),
            shell_ended: lines("ran.ended"),
            door: self.door.came.load(SeqCst),
            enrolment: self.sensor.came.load(SeqCst),
            enrolled: self.sensor.answered.load(SeqCst),
            reboot: lines("reboot.ran"),
            reboot_begun: self.terminal.log().matches("rebooting, as the server asked").count(),
        }
    }

    /// Kills the terminal when it does what is aimed at.
    fn kill_at(&mut self, aim: Aim, before: Done) {
        let is_there = || {
            let now = self.done();
            match aim {
                Aim::Shell => now.shell > before.shell,
                Aim::Door => now.door > before.door,
                Aim::Enrolment => now.enrolment > before.enrolment,
                Aim::Reboot => now.reboot > before.reboot,
                Aim::Enrolled(_) => now.enrolled > before.enrolled,
                Aim::Asking(_) | Aim::Answered(_) => true,
            }
        };
        until(&format!("at {aim:?}"), is_there, || format!("{:?}", self.done()));
        if let Aim::Enrolled(ms) | Aim::Asking(ms) | Aim::Answered(ms) = aim {
            thread::sleep(Duration::from_millis(ms));
        }
        self.terminal.kill();
        // What was held may go on: nobody waits for it any more.
        self.hold(None);
        self.terminal.run();
    }

    /// Holds back what is aimed at, so that the kill meets it.
    fn hold(&self, aim: Option<Aim>) {
        self.door.are_held.store(aim == Some(Aim::Door), SeqCst);
        self.sensor.are_held.store(aim == Some(Aim::Enrolment), SeqCst);
        let hold = self.terminal.path("hold");
        match aim {
            Some(Aim::Shell) => std::fs::write(hold, "").unwrap(),
            _ => drop(std::fs::remove_file(hold)),
        }
    }

    fn name(&self) -> String {
        let user = self.terminal.driver().call("user.get", json!({"pin": "1"})).unwrap();
        user["name"].as_str().unwrap_or_default().to_owned()
    }

    fn has_template(&self) -> bool {
        let all = self.terminal.driver().call("changes", json!({"after": 0})).unwrap();
        !all["templates"].as_array().unwrap().is_empty()
    }

    /// What is done at the keypad would be undone by a command that takes effect a second time.
    fn change_at_the_keypad(&self) {
        let mut keypad = self.terminal.driver();
        keypad.call("user.put", json!({"pin": "1", "name": "Keypad"})).unwrap();
        let finger = json!({"pin": "1", "kind": "fingerprint", "number": 3});
        keypad.call("template.delete", finger).unwrap();
    }
}

fn kills(count: u64, seed: u64) {
    let mut bench = Bench::start();
    let mut dice = seed;
    let mut roll = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    let (mut cut, mut aimed, mut left_out) = (0, 0, 0);
    for nth in 1..=count {
        let registered = |status: &Value| {
            let provided = &status["provided"];
            !provided["unlock"].is_null() && !provided["fingerprint"].is_null()
        };
        bench.terminal.wait_for("registered", registered);
        let aim = match (nth + 4 * seed) % 8 {
            0 => Aim::Shell,
            1 => Aim::Door,
            2 => Aim::Enrolment,
            3 => Aim::Reboot,
            4 => Aim::Answered(roll(1500)),
            5 => Aim::Enrolled(roll(20)),
            _ => Aim::Asking(roll(1500)),
        };
        let (before, requests) = (bench.done(), bench.server.requests().len());
        bench.hold(Some(aim));
        *bench.list.lock().unwrap() = bench.list_of(nth);
        if !matches!(aim, Aim::Answered(_)) {
            bench.kill_at(aim, before);
        }
        let replies = |bench: &Bench| replies_in(&bench.server.requests()[requests..]);
        until("answered", || replies(&bench).len() == 6, || bench.terminal.log());
        // A driver that was not there yet after the kill is asked now.
        polls_of(&bench.server, 2);
        assert_eq!(bench.name(), "Ann", "asking {nth} had no effect");
        let is_enrolled = replies(&bench)["e"].contains(&0);
        assert!(bench.has_template() || !is_enrolled, "asking {nth}: 0, and no template");
        bench.change_at_the_keypad();
        // It sends them for a while although it has the answers.
        polls_of(&bench.server, 2);
        bench.list.lock().unwrap().clear();
        if let Aim::Answered(_) = aim {
            bench.kill_at(aim, before);
        }
        polls_of(&bench.server, 3);
        assert_eq!(bench.name(), "Keypad", "asking {nth} took effect twice");
        assert!(!bench.has_template(), "asking {nth} enrolled twice");
        let (done, replies) = (bench.done(), replies(&bench));
        assert!(replies["u"].iter().all(|code| *code == 0));
        let reboot = format!("b{nth}");
        let hourly = usize::from(nth == 1);
        for (id, times, whole) in [
            ("s", done.shell - before.shell, done.shell_ended - before.shell_ended),
            ("d", done.door - before.door, done.door - before.door),
            ("e", done.enrolment - before.enrolment, done.enrolment - before.enrolment),
        ] {
            let codes = &replies[id];
            let told = format!("asking {nth}, {aim:?}: {id} was done {times} times: {codes:?}");
            cut += usize::from(codes.contains(&-1003));
            assert!(times <= 1, "{told}");
            assert!(whole == 1 || !codes.contains(&0), "{told}");
            if matches!((aim, id), (Aim::Shell, "s") | (Aim::Door, "d") | (Aim::Enrolment, "e")) {
                aimed += 1;
                assert!(times == 1 && codes.iter().all(|code| *code == -1003), "{told}");
            }
        }
        let (times, begun) = (done.reboot - before.reboot, done.reboot_begun - before.reboot_begun);
        let codes = &replies[&reboot];
        let told = format!("asking {nth}, {aim:?}: {times} reboots, {begun} begun: {codes:?}");
        assert!(times <= begun && begun <= 1 + hourly, "{told}");
        if begun == 0 && codes.contains(&0) {
            left_out += 1;
            assert!(matches!(aim, Aim::Enrolled(_) | Aim::Asking(_)) && left_out <= 2, "{told}");
        }
        aimed += usize::from(aim == Aim::Reboot);
    }
    println!(
        "seed {seed}: {count} kills, {aimed} of them while it was done; {count} askings, each took effect once; \
         {cut} were cut off and said so; {left_out} reboots were left out"
    );
    bench.terminal.kill();
    bench.door.is_over.store(true, SeqCst);
    bench.sensor.is_over.store(true, SeqCst);
    bench.drivers.into_iter().for_each(|driver| driver.join().unwrap());
}
