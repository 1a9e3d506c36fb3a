//! Output lines of a GPIO chip, by its character device.
//!
//! The second version of the kernel's interface (5.10 and later), or else the first (4.8).
//! Before that there is only sysfs, which is a file (`file:/sys/class/gpio/gpio17/value`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// The consumer of the line that `gpioinfo` shows.
const CONSUMER: &[u8] = b"punchd";

// Numbers and layouts of linux/gpio.h; the sizes are part of the numbers.
const GET_LINE: Opcode = opcode::read_write::<LineRequest>(0xb4, 0x07);
const SET_VALUES: Opcode = opcode::read_write::<LineValues>(0xb4, 0x0f);
const GET_HANDLE: Opcode = opcode::read_write::<HandleRequest>(0xb4, 0x03);
const SET_HANDLE: Opcode = opcode::read_write::<[u8; 64]>(0xb4, 0x09);
const ACTIVE_LOW: u64 = 1 << 1;
const OUTPUT: u64 = 1 << 3;
const HANDLE_OUTPUT: u32 = 1 << 1;
const HANDLE_ACTIVE_LOW: u32 = 1 << 2;

/// `struct gpio_v2_line_request`, with its `config` in it. What has no name here stays 0.
#[repr(C)]
struct LineRequest {
    offsets: [u32; 64],
    consumer: [u8; 32],
    flags: u64,
    /// Attributes of single lines; none: it begins inactive.
    attributes: [u64; 33],
    lines: u32,
    events: u32,
    padding: [u32; 5],
    fd: i32,
}

/// `struct gpio_v2_line_values`.
#[repr(C)]
struct LineValues {
    bits: u64,
    mask: u64,
}

/// `struct gpiohandle_request`.
#[repr(C)]
struct HandleRequest {
    offsets: [u32; 64],
    flags: u32,
    /// At which the lines begin: inactive.
    values: [u8; 64],
    consumer: [u8; 32],
    lines: u32,
    fd: i32,
}

const _: () = assert!(size_of::<LineRequest>() == 592 && size_of::<HandleRequest>() == 364);

/// A line that is requested from the kernel.
pub(super) struct Gpio {
    line: OwnedFd,
    is_first_version: bool,
}

impl Gpio {
    /// Requests the line as an output, inactive.
    pub(super) fn open(chip: &Path, offset: u32, active_low: bool) -> io::Result<Self> {
        let chip = OpenOptions::new().read(true).write(true).open(chip)?;
        match second(&chip, offset, active_low) {
            Ok(line) => Ok(Self { line, is_first_version: false }),
            // The answer of kernels that know the first version only.
            Err(Errno::INVAL | Errno::NOTTY) => {
                let line = first(&chip, offset, active_low)?;
                Ok(Self { line, is_first_version: true })
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn set(&self, active: bool) -> io::Result<()> {
        if self.is_first_version {
            let mut values = handle_values(active);
            // SAFETY: GPIOHANDLE_SET_LINE_VALUES_IOCTL reads struct gpiohandle_data, 64 bytes.
            unsafe { ioctl(&self.line, Updater::<SET_HANDLE, _>::new(&mut values)) }?;
        } else {
            let mut values = LineValues::of(active);
            // SAFETY: GPIO_V2_LINE_SET_VALUES_IOCTL reads this structure.
            unsafe { ioctl(&self.line, Updater::<SET_VALUES, _>::new(&mut values)) }?;
        }
        Ok(())
    }
}

fn second(chip: &File, offset: u32, active_low: bool) -> Result<OwnedFd, Errno> {
    let mut request = LineRequest::output(offset, active_low);
    // SAFETY: GPIO_V2_GET_LINE_IOCTL reads and writes this structure.
    unsafe { ioctl(chip, Updater::<GET_LINE, _>::new(&mut request)) }?;
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(request.fd) })
}

fn first(chip: &File, offset: u32, active_low: bool) -> Result<OwnedFd, Errno> {
    let mut request = HandleRequest::output(offset, active_low);
    // SAFETY: GPIO_GET_LINEHANDLE_IOCTL reads and writes this structure.
    unsafe { ioctl(chip, Updater::<GET_HANDLE, _>::new(&mut request)) }?;
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(request.fd) })
}

impl LineRequest {
    fn output(offset: u32, active_low: bool) -> Self {
        let mut request = Self {
            offsets: [0; 64],
            consumer: consumer(),
            flags: OUTPUT | if active_low { ACTIVE_LOW } else { 0 },
            attributes: [0; 33],
            lines: 1,
            events: 0,
            padding: [0; 5],
            fd: -1,
        };
        request.offsets[0] = offset;
        request
    }
}

impl HandleRequest {
    fn output(offset: u32, active_low: bool) -> Self {
        let mut request = Self {
            offsets: [0; 64],
            flags: HANDLE_OUTPUT | if active_low { HANDLE_ACTIVE_LOW } else { 0 },
            values: [0; 64],
            consumer: consumer(),
            lines: 1,
            fd: -1,
        };
        request.offsets[0] = offset;
        request
    }
}

impl LineValues {
    fn of(active: bool) -> Self {
        Self { bits: active.into(), mask: 1 }
    }
}

/// `struct gpiohandle_data`.
fn handle_values(active: bool) -> [u8; 64] {
    let mut values = [0; 64];
    values[0] = u8::from(active);
    values
}

fn consumer() -> [u8; 32] {
    let mut name = [0; 32];
    name[..CONSUMER.len()].copy_from_slice(CONSUMER);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of 32 bits of a structure that are not 0, by their places.
    fn words<T>(structure: &T) -> Vec<(usize, u32)> {
        // SAFETY: the structures are integers without padding, of a multiple of 4 bytes, and are aligned
        // to as many.
        let words = unsafe {
            std::slice::from_raw_parts(
                std::ptr::from_ref(structure).cast::<u32>(),
                size_of::<T>() / 4,
            )
        };
        words.iter().copied().enumerate().filter(|(_, word)| *word != 0).collect()
    }

    fn text(bytes: [u8; 4]) -> u32 {
        u32::from_ne_bytes(bytes)
    }

    /// The numbers and places of linux/gpio.h: a line that is one of several, that begins active or that
    /// has attributes would be another line, or a door that opens at each start.
    #[test]
    fn requests_ask_the_kernel_for_one_output_that_begins_inactive() {
        let numbers: [Opcode; 4] = [0xC250_B407, 0xC010_B40F, 0xC16C_B403, 0xC040_B409];
        assert_eq!([GET_LINE, SET_VALUES, GET_HANDLE, SET_HANDLE], numbers);
        let consumer = |at: usize| [(at, text(*b"punc")), (at + 1, text(*b"hd\0\0"))];
        for active_low in [false, true] {
            let low = u32::from(active_low);
            // offsets[64], consumer[32], config (flags of 64 bits, attributes), num_lines, …, fd.
            let flags = u64::from(8 | low << 1).to_ne_bytes();
            let half = usize::from(cfg!(target_endian = "big"));
            let flags = u32::from_ne_bytes(flags[4 * half..4 * half + 4].try_into().unwrap());
            let mut expected = vec![(0, 17)];
            expected.extend(consumer(64));
            expected.extend([(72 + half, flags), (140, 1), (147, u32::MAX)]);
            assert_eq!(words(&LineRequest::output(17, active_low)), expected);
            // lineoffsets[64], flags, default_values[64], consumer_label[32], lines, fd.
            let mut expected = vec![(0, 17), (64, 2 | low << 2)];
            expected.extend(consumer(81));
            expected.extend([(89, 1), (90, u32::MAX)]);
            assert_eq!(words(&HandleRequest::output(17, active_low)), expected);
        }
    }

    #[test]
    fn the_value_is_set_of_the_one_line() {
        for active in [false, true] {
            let values = LineValues::of(active);
            assert_eq!((values.bits, values.mask), (active.into(), 1));
            let (first, others) = (handle_values(active)[0], &handle_values(active)[1..]);
            assert!(first == u8::from(active) && others.iter().all(|value| *value == 0));
        }
    }
}
