//! A filter of system calls, for tests of what happens where io_uring is forbidden.

/// From here on io_uring_setup fails with `error` on this thread and on those it starts. Makes two system calls, and allocates nothing.
pub fn deny_io_uring(error: i32) -> std::io::Result<()> {
    /// Where struct seccomp_data has the number of the system call.
    const NUMBER_OFFSET: u32 = 0;
    let statement =
        |code: u32, jump_if: u8, jump_if_not: u8, k: u32| libc::sock_filter { code: code as u16, jt: jump_if, jf: jump_if_not, k };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER_OFFSET),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its statements live until the kernel has copied them.
    let is_done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if is_done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
