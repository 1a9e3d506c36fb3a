//! The card reader on an input device of the kernel, made by uinput. Where there is none,
//! and no right to use it, this says so and is skipped.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use rustix::ioctl::{IntegerSetter, NoArg, Opcode, Updater, ioctl, opcode};
use serde_json::{Value, json};

use crate::harness::{FakeDaemon, Shipped, nowhere, until};

// Of linux/uinput.h and linux/input-event-codes.h.
const SET_KIND: Opcode = opcode::write::<i32>(b'U', 100);

const SET_KEY: Opcode = opcode::write::<i32>(b'U', 101);

const CREATE: Opcode = opcode::none(b'U', 1);

const NAME: Opcode = opcode::read::<[u8; 64]>(b'U', 44);

const KEY: u16 = 1;

const ENTER: u16 = 28;

/// A keyboard that nobody has at hand. It is unplugged when it is dropped.
struct Keyboard {
    device: File,
    event: PathBuf,
}

impl Keyboard {
    fn plug_in() -> Option<Self> {
        let mut device = OpenOptions::new().write(true).open("/dev/uinput").ok()?;
        // SAFETY: the argument of this request is a number.
        unsafe { ioctl(&device, IntegerSetter::<SET_KIND>::new_usize(KEY.into())) }.unwrap();
        for code in 1..128 {
            // SAFETY: as above.
            unsafe { ioctl(&device, IntegerSetter::<SET_KEY>::new_usize(code)) }.unwrap();
        }
        // struct uinput_user_dev: the name, then nothing that a keyboard has.
        let mut description = vec![0; 80 + 8 + 4 + 4 * 64 * 4];
        description[..15].copy_from_slice(b"a reader by RFC");
        device.write_all(&description).unwrap();
        // SAFETY: this request has no argument.
        unsafe { ioctl(&device, NoArg::<CREATE>::new()) }.unwrap();
        let mut name = [0; 64];
        // SAFETY: this request writes up to the 64 bytes that stand in its number.
        unsafe { ioctl(&device, Updater::<NAME, _>::new(&mut name)) }.unwrap();
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let below = fs::read_dir(PathBuf::from("/sys/class/input").join(name)).unwrap();
        let mut names = below.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let event = names.find(|name| name.starts_with("event")).unwrap();
        Some(Self { device, event: PathBuf::from("/dev/input").join(event) })
    }

    /// Presses and releases each key.
    fn types(&mut self, digits: &str, enter: bool) {
        let codes = digits.bytes().map(|digit| match digit {
            b'0' => 11,
            b'1'..=b'9' => u16::from(digit - b'0') + 1,
            other => panic!("{other}"),
        });
        for code in codes.chain(enter.then_some(ENTER)) {
            for value in [1i32, 0] {
                self.event(KEY, code, value);
                self.event(0, 0, 0);
            }
        }
    }

    fn event(&mut self, kind: u16, code: u16, value: i32) {
        let time = [0; 2 * size_of::<usize>()];
        let rest = [kind.to_ne_bytes(), code.to_ne_bytes()].concat();
        self.device.write_all(&[&time[..], &rest, &value.to_ne_bytes()].concat()).unwrap();
    }
}

#[test]
fn a_reader_that_types_is_grabbed_and_may_be_unplugged() {
    let Some(mut keyboard) = Keyboard::plug_in() else {
        println!("skipped: /dev/uinput is not there, or not ours to use");
        return;
    };
    let terminal = nowhere();
    let mut daemon = FakeDaemon::open(&terminal.path("run/driver.sock"));
    // As a name in /dev/input/by-id would be.
    let path = terminal.path("by-id");
    std::os::unix::fs::symlink(&keyboard.event, &path).unwrap();
    let reader = Shipped::start(&terminal, &["card-reader", path.to_str().unwrap()]);
    daemon.welcome("card-reader", &json!(["card"]));
    let mut read = |keyboard: &mut Keyboard, digits: &str, enter: bool, card: &str| {
        keyboard.types(digits, enter);
        daemon.answer("user.get", &json!({"card": card}), Value::Null);
        daemon.answer("operation", &json!({"op": 2}), json!({"seq": 1}));
    };
    reader.says("the reader \"a reader by RFC\" is open");
    read(&mut keyboard, "0001234567", true, "1234567");
    read(&mut keyboard, "0007654321", false, "7654321");
    // Nobody else gets the keys.
    let other = Shipped::start(&terminal, &["card-reader", "--again", "9", path.to_str().unwrap()]);
    other.says("another program has grabbed it");
    drop(other);
    for digits in ["111111", "222222"] {
        drop(keyboard);
        reader.says("the reader is gone");
        std::thread::sleep(Duration::from_millis(1500)); // It stays away for a while.
        keyboard = Keyboard::plug_in().unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&keyboard.event, &path).unwrap();
        // It is opened within some seconds; what is typed before that is lost with the device.
        let here = || reader.log().matches("is open").count();
        let before = if digits == "111111" { 1 } else { 2 };
        until("here again", || here() > before, || reader.log());
        read(&mut keyboard, digits, true, digits);
    }
    assert_eq!(reader.log().matches("the reader is gone").count(), 2);
}
