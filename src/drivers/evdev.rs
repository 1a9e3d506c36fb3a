//! Input devices of the kernel (evdev): events in, keys out, and four ioctls.
//!
//! The crate of the same name does far more, and would be larger than this whole driver.

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::ioctl::{Getter, IntegerSetter, Opcode, Setter, Updater, ioctl, opcode};
use rustix::time::{ClockId, clock_gettime};

use super::typed::Key;

/// Bytes of an event: two words of time, kind, code, value.
const EVENT: usize = 2 * WORD + 8;
const WORD: usize = size_of::<usize>();
/// Most bytes of a device's name.
const LONGEST_NAME: usize = 256;

const VERSION: Opcode = opcode::read::<c_int>(b'E', 0x01);
const NAME: Opcode = opcode::read::<[u8; LONGEST_NAME]>(b'E', 0x06);
const GRAB: Opcode = opcode::write::<c_int>(b'E', 0x90);
const SET_CLOCK: Opcode = opcode::write::<c_int>(b'E', 0xa0);

// Kinds of events, and what else is needed of linux/input-event-codes.h.
const SYNC: u16 = 0;
const KEY: u16 = 1;
const DROPPED: u16 = 3;
const PRESSED: i32 = 1;

/// The keys of the digits 0 to 15, each at the place of its digit; the second row is the key
/// pad's.
const DIGITS: [[u16; 16]; 2] = [
    [11, 2, 3, 4, 5, 6, 7, 8, 9, 10, 30, 48, 46, 32, 18, 33],
    [82, 79, 80, 81, 75, 76, 77, 71, 72, 73, 0, 0, 0, 0, 0, 0],
];
/// Enter, that of the key pad, Tab; `;` and `?`, between which magnetic stripes stand.
const ENDS: [u16; 5] = [28, 96, 15, 39, 53];
/// Shift, Ctrl, Alt, Caps Lock, Num Lock: they are pressed with other keys and type nothing.
const MODIFIERS: [u16; 8] = [42, 54, 29, 97, 56, 100, 58, 69];

/// Whether it is an input device.
pub(super) fn is_input(fd: impl AsFd) -> bool {
    // SAFETY: EVIOCGVERSION writes one int.
    unsafe { ioctl(fd, Getter::<VERSION, c_int>::new()) }.is_ok()
}

/// The name that the device gives itself.
pub(super) fn name(fd: impl AsFd) -> String {
    let mut name = [0; LONGEST_NAME];
    // SAFETY: EVIOCGNAME writes at most as many bytes as its number says: the whole array.
    if unsafe { ioctl(fd, Updater::<NAME, _>::new(&mut name)) }.is_err() {
        return "without a name".into();
    }
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).chars().filter(|char| !char.is_control()).collect()
}

/// Grabs the device: its keys do not arrive on a console. Whether its events carry the time of
/// the monotonic clock.
pub(super) fn grab(fd: impl AsFd) -> io::Result<bool> {
    // SAFETY: EVIOCGRAB takes its argument as a number.
    unsafe { ioctl(&fd, IntegerSetter::<GRAB>::new_usize(1)) }?;
    let monotonic = ClockId::Monotonic as c_int;
    // SAFETY: EVIOCSCLOCKID reads one int.
    Ok(unsafe { ioctl(&fd, Setter::<SET_CLOCK, c_int>::new(monotonic)) }.is_ok())
}

/// The keys in whole events, and when each was pressed if the events are `timed`.
pub(super) fn keys(bytes: &[u8], timed: bool, mut each: impl FnMut(Key, Option<Instant>)) {
    let (now, monotonic) = (Instant::now(), clock_gettime(ClockId::Monotonic));
    let since_boot = Duration::new(monotonic.tv_sec as u64, monotonic.tv_nsec as u32);
    for event in bytes.chunks_exact(EVENT) {
        let Some((key, at)) = decode(event) else { continue };
        each(key, timed.then(|| now.checked_sub(since_boot.saturating_sub(at)).unwrap_or(now)));
    }
}

/// The key that an event is about, and the time in it; `None` if it is about none.
fn decode(event: &[u8]) -> Option<(Key, Duration)> {
    let (seconds, rest) = event.split_first_chunk::<WORD>()?;
    let (micros, rest) = rest.split_first_chunk::<WORD>()?;
    let (kind, rest) = rest.split_first_chunk::<2>()?;
    let (code, rest) = rest.split_first_chunk::<2>()?;
    let value = i32::from_ne_bytes(*rest.first_chunk::<4>()?);
    let code = u16::from_ne_bytes(*code);
    let key = match u16::from_ne_bytes(*kind) {
        SYNC if code == DROPPED => Key::Lost,
        KEY if value == PRESSED => key(code)?,
        _ => return None,
    };
    let micros = Duration::from_micros(usize::from_ne_bytes(*micros) as u64);
    let at = Duration::from_secs(usize::from_ne_bytes(*seconds) as u64).saturating_add(micros);
    Some((key, at))
}

fn key(code: u16) -> Option<Key> {
    let place = |row: &[u16; 16]| row.iter().position(|&known| known == code && code != 0);
    match DIGITS.iter().find_map(place) {
        Some(digit) => Some(Key::Digit(digit as u8)),
        None if ENDS.contains(&code) => Some(Key::End),
        None if MODIFIERS.contains(&code) => None,
        None => Some(Key::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An event as the kernel writes it.
    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let time = [1usize, 2].map(usize::to_ne_bytes).concat();
        [time, kind.to_ne_bytes().into(), code.to_ne_bytes().into(), value.to_ne_bytes().into()]
            .concat()
    }

    fn decoded(events: &[Vec<u8>]) -> Vec<Key> {
        let mut read = Vec::new();
        keys(&events.concat(), false, |key, _| read.push(key));
        read
    }

    #[test]
    fn keys_are_what_is_printed_on_them() {
        // linux/input-event-codes.h: KEY_1 is 2 … KEY_0 is 11; KEY_A 30, KEY_F 33, KEY_KP0 82.
        for (code, key) in [
            (2, Some(Key::Digit(1))),
            (10, Some(Key::Digit(9))),
            (11, Some(Key::Digit(0))),
            (30, Some(Key::Digit(10))),
            (33, Some(Key::Digit(15))),
            (71, Some(Key::Digit(7))),
            (82, Some(Key::Digit(0))),
            (28, Some(Key::End)),
            (96, Some(Key::End)),
            (34, Some(Key::Other)),
            (0, Some(Key::Other)),
            (u16::MAX, Some(Key::Other)),
            (42, None),
        ] {
            assert_eq!(decoded(&[event(KEY, code, PRESSED)]), Vec::from_iter(key), "{code}");
        }
    }

    #[test]
    fn only_presses_count() {
        let events = [
            event(4, 4, 458_782),
            event(KEY, 2, 1),
            event(SYNC, 0, 0),
            event(KEY, 2, 2),
            event(KEY, 2, 0),
            event(SYNC, DROPPED, 0),
            vec![0; EVENT - 1],
        ];
        assert_eq!(decoded(&events), [Key::Digit(1), Key::Lost]);
    }

    proptest! {
        #[test]
        fn arbitrary_events_are_taken_apart(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let mut count = 0;
            keys(&bytes, true, |_, at| count += usize::from(at.is_some()));
            prop_assert!(count <= bytes.len() / EVENT);
        }
    }
}
