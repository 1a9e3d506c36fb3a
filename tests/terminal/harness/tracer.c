/* Runs a program under ptrace(2), and lets one of its system calls fail, or write less than it was asked to.
 *
 *   tracer CONTROL PROGRAM ARGUMENT…
 *
 * The program keeps the process id; the tracer is a process of its own that ends with it. CONTROL is a file with a
 * `struct control`, which the test reads and writes while the program runs (tests/terminal/harness/tracer.rs). Only the
 * first thread is traced, and no child process. What the program reads of other processes in /proc neither counts nor
 * fails. x86-64 only.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 512, PATH = 256 };

struct control {
    volatile int64_t call;  /* the number of the system call that fails; -1: none */
    volatile int64_t nth;   /* which of them from now on, from 1 */
    volatile int64_t error; /* its errno; 0: it writes half of what it was asked to */
    volatile int64_t hits;  /* how many failed */
    volatile int64_t shift; /* seconds by which the wall clock is ahead; set before the program starts */
    volatile int64_t begun; /* the program opened its configuration: from then on calls count */
    volatile int64_t counts[CALLS];
    char file[PATH]; /* the file of the call that failed */
};

static struct control *control;
static pid_t program;

static void end(const char *what)
{
    perror(what);
    exit(70);
}

static void copy_in(uint64_t from, void *to, size_t length)
{
    struct iovec here = {to, length}, there = {(void *)from, length};
    memset(to, 0, length);
    process_vm_readv(program, &here, 1, &there, 1, 0);
}

/* What a descriptor of the program is. */
static void path_of(uint64_t descriptor, char *path)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/fd/%d", program, (int)descriptor);
    if (readlink(name, path, PATH - 1) < 0) path[0] = 0;
}

/* The path that a system call has, or that of its file descriptor. */
static void file_of(const struct user_regs_struct *registers, char *path)
{
    memset(path, 0, PATH);
    switch (registers->orig_rax) {
    case SYS_openat: case SYS_newfstatat: case SYS_unlinkat: case SYS_mkdirat: case SYS_renameat: case SYS_renameat2:
    case SYS_faccessat: case SYS_fchmodat: case SYS_linkat: case SYS_statx: case SYS_readlinkat:
        copy_in(registers->rsi, path, PATH - 1);
        if (path[0] == 0) path_of(registers->rdi, path);
        break;
    case SYS_open: case SYS_stat: case SYS_lstat: case SYS_unlink: case SYS_mkdir: case SYS_rename: case SYS_access:
    case SYS_readlink: case SYS_rmdir: case SYS_chmod: case SYS_link: case SYS_statfs: case SYS_chdir: case SYS_chown:
        copy_in(registers->rdi, path, PATH - 1);
        break;
    case SYS_mmap:
        path_of(registers->r8, path);
        break;
    default:
        path_of(registers->rdi, path);
    }
}

/* Whether the program opens a file of this name. */
static int opens(const struct user_regs_struct *registers, const char *wanted)
{
    char path[PATH];
    if (registers->orig_rax != SYS_openat && registers->orig_rax != SYS_open) return 0;
    file_of(registers, path);
    size_t length = strlen(path), end = strlen(wanted);
    return length >= end && strcmp(path + length - end, wanted) == 0;
}

/* Whether it looks at another process. How often that is depends on what else runs on the machine. */
static int is_of_others(const struct user_regs_struct *registers)
{
    char path[PATH];
    switch (registers->orig_rax) {
    case SYS_openat: case SYS_read: case SYS_close: case SYS_statx: case SYS_getdents64: case SYS_lseek: case SYS_fstat:
    case SYS_newfstatat:
        file_of(registers, path);
        return strncmp(path, "/proc", 5) == 0 && (path[5] == 0 || (path[6] >= '1' && path[6] <= '9'));
    default:
        return 0;
    }
}

static int is_write(uint64_t call)
{
    return call == SYS_write || call == SYS_pwrite64 || call == SYS_sendto;
}

/* What was changed of the system call that is under way. */
static struct { int fails, is_short; uint64_t length; } changed;

static void on_entry(void)
{
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, program, 0, &registers)) return;
    uint64_t call = registers.orig_rax;
    if (!control->begun && opens(&registers, "/punchd.toml")) control->begun = 1;
    if (!control->begun || call >= CALLS || is_of_others(&registers)) return;
    control->counts[call]++;
    if ((int64_t)call != control->call || --control->nth != 0) return;
    if (control->error) {
        changed.fails = 1;
    } else {
        /* A single byte cannot be written in part. */
        if (!is_write(call) || registers.rdx < 2) return;
        changed.is_short = 1;
        changed.length = registers.rdx;
    }
    file_of(&registers, control->file);
    control->hits++;
    /* close(2) closes whatever it returns. */
    if (changed.is_short) registers.rdx /= 2;
    else if (call != SYS_close) registers.orig_rax = -1;
    if (ptrace(PTRACE_SETREGS, program, 0, &registers)) end("PTRACE_SETREGS");
}

/* Adds the shift to the seconds at an address. */
static void shift_seconds(uint64_t address)
{
    if (!address) return;
    errno = 0;
    int64_t seconds = ptrace(PTRACE_PEEKDATA, program, address, 0);
    if (errno == 0) ptrace(PTRACE_POKEDATA, program, address, seconds + control->shift);
}

static void on_exit_of_call(void)
{
    struct user_regs_struct registers;
    if (!changed.fails && !changed.is_short && !control->shift) return;
    if (ptrace(PTRACE_GETREGS, program, 0, &registers)) return;
    if (changed.fails) {
        registers.rax = -control->error;
    } else if (changed.is_short) {
        registers.rdx = changed.length;
    } else if (registers.orig_rax == SYS_clock_gettime && (registers.rdi == 0 || registers.rdi == 5)) {
        shift_seconds(registers.rsi);
    } else if (registers.orig_rax == SYS_gettimeofday) {
        shift_seconds(registers.rdi);
    } else if (registers.orig_rax == SYS_time) {
        shift_seconds(registers.rdi);
        registers.rax += control->shift;
    }
    memset(&changed, 0, sizeof changed);
    ptrace(PTRACE_SETREGS, program, 0, &registers);
}

/* Programs read the clock without a system call, by code that the kernel maps (vDSO). Makes that code call the kernel. */
static void call_for_the_time(void)
{
    char path[64], line[512];
    uint64_t base = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", program);
    FILE *maps = fopen(path, "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "[vdso]")) base = strtoull(line, NULL, 16);
    if (maps) fclose(maps);
    if (!base) return;
    static char image[2 << 12];
    copy_in(base, image, sizeof image);
    Elf64_Ehdr *header = (Elf64_Ehdr *)image;
    Elf64_Shdr *section = (Elf64_Shdr *)(image + header->e_shoff);
    if (header->e_shoff + header->e_shnum * sizeof *section > sizeof image) return;
    for (int nth = 0; nth < header->e_shnum; nth++) {
        if (section[nth].sh_type != SHT_DYNSYM) continue;
        Elf64_Sym *symbol = (Elf64_Sym *)(image + section[nth].sh_offset);
        const char *names = image + section[section[nth].sh_link].sh_offset;
        for (size_t at = 0; at < section[nth].sh_size / sizeof *symbol; at++) {
            const char *name = names + symbol[at].st_name;
            uint64_t call = !strcmp(name, "__vdso_clock_gettime") ? SYS_clock_gettime
                          : !strcmp(name, "__vdso_gettimeofday")  ? SYS_gettimeofday
                          : !strcmp(name, "__vdso_time")          ? SYS_time : 0;
            /* mov eax, CALL; syscall; ret */
            uint64_t code = 0xc3050f00000000b8ULL | call << 8;
            if (call && ptrace(PTRACE_POKEDATA, program, base + symbol[at].st_value, code)) end("PTRACE_POKEDATA");
        }
    }
}

static void trace(void)
{
    for (;;) {
        int status, signal = 0, request = PTRACE_SYSCALL;
        if (waitpid(program, &status, __WALL) != program) {
            if (errno == EINTR) continue;
            return;
        }
        if (WIFEXITED(status) || WIFSIGNALED(status)) return;
        int stop = WSTOPSIG(status), event = status >> 16;
        if (stop == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            memset(&info, 0, sizeof info);
            ptrace(PTRACE_GET_SYSCALL_INFO, program, sizeof info, &info);
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY) on_entry();
            if (info.op == PTRACE_SYSCALL_INFO_EXIT) on_exit_of_call();
        } else if (event == PTRACE_EVENT_EXEC) {
            if (control->shift) call_for_the_time();
        } else if (event == PTRACE_EVENT_STOP) {
            if (stop != SIGTRAP) request = PTRACE_LISTEN;
        } else if (event == 0) {
            signal = stop;
        }
        ptrace(request, program, 0, signal);
    }
}

int main(int count, char **arguments)
{
    int ready[2];
    if (count < 3) return 64;
    int file = open(arguments[1], O_RDWR | O_CLOEXEC);
    if (file < 0 || pipe2(ready, O_CLOEXEC)) end(arguments[1]);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (control == MAP_FAILED) end("mmap");
    program = getpid();
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    pid_t between = fork();
    if (between < 0) end("fork");
    if (between == 0) {
        /* A grandchild: the program must not have a child that it did not make. */
        if (fork() != 0) _exit(0);
        setsid();
        long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
        int failed = ptrace(PTRACE_SEIZE, program, 0, options) || ptrace(PTRACE_INTERRUPT, program, 0, 0);
        if (write(ready[1], failed ? "" : "ok", failed ? 1 : 2) < 0 || failed) _exit(70);
        close(ready[0]);
        close(ready[1]);
        trace();
        _exit(0);
    }
    waitpid(between, NULL, 0);
    close(ready[1]);
    char answer[2];
    ssize_t length;
    while ((length = read(ready[0], answer, 2)) < 0 && errno == EINTR) {}
    if (length != 2) {
        fputs("tracer: the program cannot be traced here\n", stderr);
        return 69;
    }
    execv(arguments[2], arguments + 2);
    end(arguments[2]);
}
