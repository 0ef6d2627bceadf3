//! Where the threads beside a core's own run: its helper, and the worker threads that the kernel makes for its ring.
//!
//! A core's thread is pinned, and a thread begins where the one that made it may run. So all of them would work on the core's own CPU and take it away from
//! the core, for a scheduler's slice of some milliseconds at a time, while other CPUs idle: writing and syncing a file is work for worker threads. Therefore
//! the helper frees itself, and frees the workers behind each write and sync. (`IORING_REGISTER_IOWQ_AFF` is not enough: the kernel cuts the set it is given
//! by that of the thread that made the worker.)

use std::fs;
use std::io;

/// What frees the other threads of one core.
#[derive(Clone, Copy)]
pub(super) struct Placement {
    /// The thread of the core.
    core: libc::pid_t,
    /// Where its other threads may run.
    cpus: libc::cpu_set_t,
}

impl Placement {
    /// For the calling thread, which is a core's: its other threads may run on `cpus`.
    pub(super) fn of_this_core(cpus: &[usize]) -> Self {
        // SAFETY: the call takes no pointers.
        Self { core: unsafe { libc::gettid() }, cpus: set_of(cpus) }
    }

    /// Lets the calling thread run wherever the core's other threads may.
    pub(super) fn free_this_thread(&self) -> io::Result<()> {
        place(0, &self.cpus)
    }

    /// Lets the worker threads that the ring has by now run wherever the core's other threads may. Blocks: only for the helper thread.
    pub(super) fn free_workers(&self) -> io::Result<()> {
        let name = format!("iou-wrk-{}", self.core);
        for thread in fs::read_dir("/proc/self/task")? {
            let thread = thread?;
            // A thread that has ended meanwhile has no name.
            let Ok(found) = fs::read_to_string(thread.path().join("comm")) else { continue };
            if found.trim_end() != name {
                continue;
            }
            if let Some(worker) = thread.file_name().to_str().and_then(|number| number.parse().ok()) {
                match place(worker, &self.cpus) {
                    Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Pins the calling thread to one CPU.
pub(super) fn pin_to(cpu: usize) -> io::Result<()> {
    place(0, &set_of(&[cpu]))
}

/// The CPUs in the calling thread's affinity mask, lowest first.
pub(super) fn usable_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set, and the kernel fills in at most the size it is told.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        set
    };
    // SAFETY: CPU_ISSET reads within the set for numbers below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

fn set_of(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: an all-zero cpu_set_t is the empty set, and CPU_SET checks its bounds.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
        set
    }
}

/// Sets where `thread` may run; 0 is the calling one.
fn place(thread: libc::pid_t, cpus: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the kernel only reads the set, which is as long as it is told.
    let placed = unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), cpus) };
    if placed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
