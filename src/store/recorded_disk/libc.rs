//! The functions of the C library that change files, with a note before or after each call: the linker
//! takes these for SQLite and for the standard library alike. Threads that record nothing are passed
//! through.

use std::cell::RefCell;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::tape::Recorder;

thread_local! {
    pub(super) static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Does something with the recorder of this thread, if it has one that does not call this itself.
fn noted<T>(act: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
    let act =
        |recorder: &RefCell<Option<Recorder>>| recorder.try_borrow_mut().ok()?.as_mut().map(act);
    RECORDER.try_with(act).ok().flatten()
}

/// Fails a call that would take room on a full disk.
fn refuse() -> c_int {
    // SAFETY: the C library gives the address of this thread's error number, which is always valid.
    unsafe { *__errno_location() = Errno::NOSPC.raw_os_error() };
    -1
}

/// The function of the C library that has this name.
fn next(name: &CStr, known: &AtomicPtr<c_void>) -> *mut c_void {
    let mut function = known.load(Ordering::Relaxed);
    if function.is_null() {
        // SAFETY: a name that ends with a zero; this handle means the libraries after this program.
        function = unsafe { dlsym(RTLD_NEXT, name.as_ptr()) };
        assert!(!function.is_null(), "the C library has no {name:?}");
        known.store(function, Ordering::Relaxed);
    }
    function
}

const RTLD_NEXT: *mut c_void = -1isize as *mut c_void;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

/// Defines a function in place of the C library's; `real` calls that one with the same arguments.
macro_rules! before_libc {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty { |$real:ident| $body:expr })*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
            let name = concat!(stringify!($name), "\0");
            let name = CStr::from_bytes_with_nul(name.as_bytes()).expect("it ends with the zero");
            let next = next(name, &NEXT);
            // SAFETY: the function of this name has these arguments and this result in the C library of
            // Linux, 64 bits wide where the name says so.
            let next: unsafe extern "C" fn($($type),*) -> $result = unsafe { std::mem::transmute(next) };
            // SAFETY: the caller's arguments are passed on as they came.
            let $real = || unsafe { next($($argument),*) };
            $body
        }
    )*};
}

before_libc! {
    // The last argument is there only where a file may be created; on Linux, an argument that is optional
    // travels as one that is not, and an unused one may be anything.
    fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int { |real| {
        // SAFETY: the caller of `open` passes a text that ends with a zero.
        let path = unsafe { path_of(path) };
        let flags = OFlags::from_bits_retain(flags as c_uint);
        if noted(|recorder| recorder.refuses_open(path, flags)) == Some(true) {
            return refuse();
        }
        let fd = real();
        if fd >= 0 {
            noted(|recorder| recorder.opened(path, flags, fd));
        }
        fd
    }}
    fn close(fd: c_int) -> c_int { |real| {
        noted(|recorder| recorder.closed(fd));
        real()
    }}
    fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize { |real| {
        let is_refused = noted(|recorder| recorder.refuses_growth(fd, position(fd) + count as u64));
        if is_refused == Some(true) {
            return refuse() as isize;
        }
        let written = real();
        if written > 0 {
            // SAFETY: so many bytes were just read from there by the C library.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.cast(), written as usize) };
            noted(|recorder| recorder.wrote(fd, || position(fd) - written as u64, bytes));
        }
        written
    }}
    fn pwrite64(fd: c_int, bytes: *const c_void, count: usize, offset: i64) -> isize { |real| {
        let offset = offset as u64;
        if noted(|recorder| recorder.refuses_growth(fd, offset + count as u64)) == Some(true) {
            return refuse() as isize;
        }
        let written = real();
        if written > 0 {
            // SAFETY: so many bytes were just read from there by the C library.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.cast(), written as usize) };
            noted(|recorder| recorder.wrote(fd, || offset, bytes));
        }
        written
    }}
    fn ftruncate64(fd: c_int, size: i64) -> c_int { |real| {
        if noted(|recorder| recorder.refuses_growth(fd, size as u64)) == Some(true) {
            return refuse();
        }
        let status = real();
        if status == 0 {
            noted(|recorder| recorder.truncated(fd, size as u64));
        }
        status
    }}
    fn fsync(fd: c_int) -> c_int { |real| {
        let status = real();
        if status == 0 {
            noted(|recorder| recorder.synced(fd));
        }
        status
    }}
    fn fdatasync(fd: c_int) -> c_int { |real| {
        let status = real();
        if status == 0 {
            noted(|recorder| recorder.synced(fd));
        }
        status
    }}
    fn rename(from: *const c_char, to: *const c_char) -> c_int { |real| {
        // SAFETY: the caller of `rename` passes two texts that end with a zero.
        let (from, to) = unsafe { (path_of(from), path_of(to)) };
        let status = real();
        if status == 0 {
            noted(|recorder| recorder.renamed(from, to));
        }
        status
    }}
    fn unlink(path: *const c_char) -> c_int { |real| {
        // SAFETY: the caller of `unlink` passes a text that ends with a zero.
        let path = unsafe { path_of(path) };
        let status = real();
        if status == 0 {
            noted(|recorder| recorder.deleted(path));
        }
        status
    }}
}

/// # Safety
/// A text that ends with a zero, and lives as long as the call.
unsafe fn path_of<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: as above.
    let path = unsafe { CStr::from_ptr(path) };
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// Where the next `write` goes.
fn position(fd: c_int) -> u64 {
    // SAFETY: the caller of `write` has it open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::fs::tell(fd).unwrap_or(0)
}
