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
            let mut values = [0; 64];
            values[0] = u8::from(active);
            // SAFETY: GPIOHANDLE_SET_LINE_VALUES_IOCTL reads struct gpiohandle_data, 64 bytes.
            unsafe { ioctl(&self.line, Updater::<SET_HANDLE, _>::new(&mut values)) }?;
        } else {
            let mut values = LineValues { bits: active.into(), mask: 1 };
            // SAFETY: GPIO_V2_LINE_SET_VALUES_IOCTL reads this structure.
            unsafe { ioctl(&self.line, Updater::<SET_VALUES, _>::new(&mut values)) }?;
        }
        Ok(())
    }
}

fn second(chip: &File, offset: u32, active_low: bool) -> Result<OwnedFd, Errno> {
    let mut request = LineRequest {
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
    // SAFETY: GPIO_V2_GET_LINE_IOCTL reads and writes this structure.
    unsafe { ioctl(chip, Updater::<GET_LINE, _>::new(&mut request)) }?;
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(request.fd) })
}

fn first(chip: &File, offset: u32, active_low: bool) -> Result<OwnedFd, Errno> {
    let mut request = HandleRequest {
        offsets: [0; 64],
        flags: HANDLE_OUTPUT | if active_low { HANDLE_ACTIVE_LOW } else { 0 },
        values: [0; 64],
        consumer: consumer(),
        lines: 1,
        fd: -1,
    };
    request.offsets[0] = offset;
    // SAFETY: GPIO_GET_LINEHANDLE_IOCTL reads and writes this structure.
    unsafe { ioctl(chip, Updater::<GET_HANDLE, _>::new(&mut request)) }?;
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(request.fd) })
}

fn consumer() -> [u8; 32] {
    let mut name = [0; 32];
    name[..CONSUMER.len()].copy_from_slice(CONSUMER);
    name
}
