//! Real programs inside the sandbox.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a whole file of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kernsmith_sandbox::{
    Child, Confinement, Ended, Exit, Identity, Layer, Limits, Output, Policy, SandboxError, Spawn, hidden,
    probe_with,
};

const SECONDS: Duration = Duration::from_secs(20);

fn helper() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_confine-helper"))
}

/// What a program of the system needs to start.
fn policy() -> Policy {
    Policy {
        read: vec!["/etc".into()],
        execute: ["/usr", "/lib", "/lib64", "/bin"].map(PathBuf::from).to_vec(),
        write: vec!["/dev/null".into()],
        environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        ..Policy::default()
    }
}

fn shell(policy: &Policy, script: &str) -> Spawn<'static> {
    let output = Output::Capture { cap_bytes: 4096 };
    Spawn::confined(helper(), policy, "/bin/sh").args(["-c", script]).stdout(output).stderr(output)
}

fn run(policy: &Policy, script: &str) -> Ended {
    shell(policy, script).start().unwrap().wait(SECONDS).unwrap()
}

fn confinement() -> Confinement {
    probe_with(&helper()).unwrap()
}

/// Says why a test has nothing to show here; a silent pass would look like a proof.
fn lacks(layer: Layer) -> bool {
    let confinement = confinement();
    let missing = !confinement.has(layer);
    if missing {
        println!("skipped: this machine has no {layer}: {:?}", confinement.missing);
    }
    missing
}

#[test]
fn codes_and_signals_come_through_the_three_processes() {
    assert_eq!(run(&policy(), "exit 7").exit, Exit::Code(7));
    assert_eq!(run(&policy(), "kill -ABRT $$").exit, Exit::Signal(6));
    assert_eq!(run(&policy(), "kill -KILL $$").exit, Exit::Signal(9));
    let ended = run(&policy(), "echo out; echo err >&2");
    assert_eq!((ended.stdout.text().as_str(), ended.stderr.text().as_str()), ("out\n", "err\n"));
}

#[test]
fn a_program_that_is_not_there_and_a_policy_that_is_none_have_codes_of_their_own() {
    let missing = Spawn::confined(helper(), &policy(), "/usr/bin/no-such-program").start().unwrap();
    assert_eq!(missing.wait(SECONDS).unwrap().exit, Exit::Code(hidden::EXIT_NOT_FOUND.into()));
    let output = Output::Capture { cap_bytes: 4096 };
    let broken = Spawn::new(helper()).args([hidden::VERB, "{\"wat\":1}", "--", "true"]).stderr(output);
    let ended = broken.start().unwrap().wait(SECONDS).unwrap();
    assert_eq!(ended.exit, Exit::Code(hidden::EXIT_CONFINEMENT.into()));
    assert!(ended.stderr.text().starts_with(hidden::ERROR_PREFIX), "{}", ended.stderr.text());
    assert!(matches!(Spawn::new("/no/such/helper").start(), Err(SandboxError::Start { .. })));
}

#[test]
fn a_policy_that_requires_what_it_switches_off_is_refused() {
    let policy = Policy { namespaces: false, required: vec![Layer::NetworkNamespace], ..policy() };
    let ended = run(&policy, "true");
    assert_eq!(ended.exit, Exit::Code(hidden::EXIT_CONFINEMENT.into()));
    assert!(ended.stderr.text().contains("network-namespace"), "{}", ended.stderr.text());
}

#[test]
fn there_is_no_network() {
    if lacks(Layer::NetworkNamespace) {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let outside = Command::new("/bin/bash").args(["-c", &script]).status().unwrap();
    assert!(outside.success(), "the listener can be reached from outside");
    for namespaces in [true, false] {
        // Without namespaces it is Landlock that says no.
        let policy = Policy { namespaces, ..policy() };
        let child = Spawn::confined(helper(), &policy, "/bin/bash").args(["-c", &script]).start().unwrap();
        assert_ne!(child.wait(SECONDS).unwrap().exit, Exit::Code(0), "namespaces: {namespaces}");
    }
}

#[test]
fn only_the_listed_paths_can_be_written_and_read() {
    if lacks(Layer::Landlock) {
        return;
    }
    let inside = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    let policy = Policy { write: vec![inside.path().into()], ..policy() };
    let script = format!(
        "echo y > {inside}/made; echo y > {outside}/made; cat {outside}/secret && echo leaked",
        inside = inside.path().display(),
        outside = outside.path().display()
    );
    let ended = run(&policy, &script);
    assert!(inside.path().join("made").exists(), "{}", ended.stderr.text());
    assert!(!outside.path().join("made").exists());
    assert!(!ended.stdout.text().contains("leaked"));
}

#[test]
fn the_read_only_tree_denies_writes_also_where_the_paths_do_not() {
    if lacks(Layer::MountNamespace) {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("made");
    // Landlock lets this directory be written, but it is created only after the tree was made read-only.
    let ended = run(&policy(), &format!("touch {}", file.display()));
    assert!(ended.stderr.text().contains("Read-only file system"), "{}", ended.stderr.text());
}

#[test]
fn the_environment_and_the_descriptors_are_those_of_the_policy() {
    let policy = Policy { read: vec!["/proc".into(), "/etc".into()], ..policy() };
    let kept = std::fs::File::open("/etc/passwd").unwrap();
    let spawn = shell(&policy, "env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; ls /proc/self/fd");
    let ended = spawn.env("SECRET", "1").pass(std::os::fd::AsFd::as_fd(&kept)).start().unwrap();
    let text = ended.wait(SECONDS).unwrap().stdout.text();
    // `ls` itself has one descriptor open.
    assert_eq!(text, "PATH=/usr/bin:/bin\n0\n1\n2\n3\n");
}

#[test]
fn a_passed_descriptor_arrives_and_no_other_child_gets_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let policy = Policy { keep_descriptors: vec![number], ..policy() };
    let child = shell(&policy, &format!("echo hello >&{number}")).pass(std::os::fd::AsFd::as_fd(&writer));
    assert_eq!(child.start().unwrap().wait(SECONDS).unwrap().exit, Exit::Code(0));
    let next = shell(&policy, &format!("echo again >&{number}")).start().unwrap().wait(SECONDS).unwrap();
    assert_ne!(next.exit, Exit::Code(0));
    drop(writer);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "hello\n");
}

#[test]
fn a_fork_bomb_is_contained_and_gone() {
    if lacks(Layer::PidNamespace) {
        return;
    }
    let limits = Limits { processes: Some(40), ..Limits::default() };
    let policy = Policy { identity: Identity::Nobody, limits, ..policy() };
    let script = "bomb() { bomb 27182 & bomb 27182 & wait; }; bomb 27182";
    let child = shell(&policy, script).start().unwrap();
    let ended = child.wait(Duration::from_secs(2)).unwrap();
    assert!(
        ended.stderr.text().to_lowercase().contains("fork") || ended.exit == Exit::Timeout,
        "{:?} {}",
        ended.exit,
        ended.stderr.text()
    );
    assert_gone("27182");
}

#[test]
fn the_process_limit_binds_a_caller_who_is_root() {
    let limits = Limits { processes: Some(5), ..Limits::default() };
    let policy = Policy { identity: Identity::Nobody, limits, ..policy() };
    let ended = run(&policy, "for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; echo all");
    assert!(!ended.stdout.text().contains("all"), "{}", ended.stderr.text());
}

#[test]
fn a_timeout_leaves_no_process_behind() {
    if lacks(Layer::PidNamespace) {
        return;
    }
    // The grandchild leaves session and group, so that only the process tree can catch it.
    let script = "setsid sleep 31415 & sleep 31415";
    let start = Instant::now();
    let ended = shell(&policy(), script).start().unwrap().wait(Duration::from_millis(300)).unwrap();
    assert_eq!(ended.exit, Exit::Timeout);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_gone("31415");
}

#[test]
fn dropping_a_child_kills_it_and_stopping_it_stops_it() {
    let child = shell(&policy(), "exec sleep 16180").start().unwrap();
    assert!(child.is_running());
    child.suspend().unwrap();
    wait_for_state(child.id(), |state| state == "T");
    child.resume().unwrap();
    wait_for_state(child.id(), |state| state != "T");
    drop(child);
    assert_gone("16180");
}

/// Waits until the kernel has done what a signal asked for.
fn wait_for_state(process: i32, reached: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let state = status.rsplit(") ").next().and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
        if reached(&state) {
            return;
        }
        assert!(Instant::now() < deadline, "state {state}");
        std::thread::yield_now();
    }
}

/// Waits, for the kernel tears a process tree down after the call that killed it has returned.
fn assert_gone(argument: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while find_process(argument) {
        assert!(Instant::now() < deadline, "a process with argument {argument} is left");
        std::thread::yield_now();
    }
}

fn find_process(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        line.split(|&byte| byte == 0).any(|word| word == argument.as_bytes())
            || String::from_utf8_lossy(&line).contains(&format!("sleep {argument}"))
    })
}

#[test]
fn memory_time_and_file_size_are_limited() {
    let memory = Limits { address_space_bytes: Some(300 << 20), ..Limits::default() };
    let take = "exec /usr/bin/perl -e '$x = \"a\" x (1 << 30); print length $x'";
    let ended = run(&Policy { limits: memory, ..policy() }, take);
    assert_ne!(ended.exit, Exit::Code(0), "{}", ended.stdout.text());
    assert_eq!(run(&policy(), take).exit, Exit::Code(0));
    let time = Limits { cpu_seconds: Some(1), ..Limits::default() };
    let ended = run(&Policy { limits: time, ..policy() }, "while :; do :; done");
    assert_eq!(ended.exit, Exit::Signal(24));
    assert!(ended.usage.user_seconds + ended.usage.system_seconds > 0.5, "{:?}", ended.usage);
    let inside = tempfile::tempdir().unwrap();
    let size = Limits { file_bytes: Some(1 << 20), ..Limits::default() };
    let policy = Policy { limits: size, write: vec![inside.path().into()], ..policy() };
    let file = inside.path().join("big");
    assert_ne!(run(&policy, &format!("head -c 2000000 /dev/zero > {}", file.display())).exit, Exit::Code(0));
    assert!(file.metadata().unwrap().len() <= 1 << 20);
}

#[test]
fn a_gigabyte_of_output_is_read_and_mostly_dropped() {
    let policy = Policy { read: vec!["/dev/zero".into()], ..policy() };
    let ended = run(&policy, "head -c 1000000000 /dev/zero");
    assert_eq!(ended.exit, Exit::Code(0), "{}", ended.stderr.text());
    assert_eq!((ended.stdout.bytes.len(), ended.stdout.total_bytes), (4096, 1_000_000_000));
    assert!(ended.stdout.is_truncated());
}

#[test]
fn everything_dies_with_the_parent() {
    // The outer shell stands for the parent: it starts a confined sleep and ends.
    let policy = policy().to_json();
    let script = r#""$0" __confine "$1" -- /bin/sleep 14142 & sleep 0.3"#;
    let status = Command::new("/bin/sh").args(["-c", script]).arg(helper()).arg(policy).status().unwrap();
    assert!(status.success());
    assert_gone("14142");
}

#[test]
fn a_refused_namespace_is_reported_by_name() {
    if lacks(Layer::UserNamespace) {
        return;
    }
    for kind in ["user", "pid"] {
        let confinement = confine_where_none_may_be_made(kind);
        let line = confinement.missing_lines().join("; ");
        assert!(
            line.contains(&format!("{kind}-namespace: ")) && line.contains(&format!("max_{kind}_namespaces")),
            "{line}"
        );
        assert!(confinement.has(Layer::ParentDeath));
    }
}

/// Inside a user namespace that may make no more of a kind, confinement goes as on a machine that forbids them.
fn confine_where_none_may_be_made(kind: &str) -> Confinement {
    let script =
        format!("echo 0 > /proc/sys/user/max_{kind}_namespaces && exec \"$0\" __confine \"$1\" --report");
    let output = Command::new("/usr/bin/unshare")
        .args(["--user", "--map-root-user", "/bin/sh", "-c", &script])
        .arg(helper())
        .arg(Policy::default().to_json())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Compiles a library and calls its symbol the way a worker does.
fn call(source: &str, policy: &Policy) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let (input, library) = (directory.path().join("x.cpp"), directory.path().join("x.so"));
    std::fs::write(&input, source).unwrap();
    let compiled = Command::new("g++")
        .args(["-O1", "-shared", "-fPIC", "-fopenmp", "-pthread", "-o"])
        .args([&library, &input])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    start_call(&library, policy).wait(SECONDS).unwrap()
}

fn start_call(library: &Path, policy: &Policy) -> Child {
    let mut policy = policy.clone();
    policy.read.extend([library.to_path_buf(), "/sys".into()]);
    let output = Output::Capture { cap_bytes: 4096 };
    let spawn = Spawn::new(helper()).arg("call").arg(policy.to_json()).arg(library).arg("symbol");
    spawn.stdout(output).stderr(output).start().unwrap()
}

#[test]
fn threads_pools_and_conditions_work_under_the_run_profile() {
    let source = r#"
        #include <thread>
        #include <mutex>
        #include <condition_variable>
        #include <vector>
        #include <cstdlib>
        #include <cstring>
        extern "C" int symbol() {
            int sum = 0;
            #pragma omp parallel for reduction(+ : sum) num_threads(3)
            for (int i = 0; i < 1000; ++i) sum += 1;
            std::mutex mutex; std::condition_variable ready; int arrived = 0;
            std::vector<std::thread> threads;
            for (int i = 0; i < 4; ++i) threads.emplace_back([&] {
                std::unique_lock<std::mutex> lock(mutex);
                ++arrived; ready.notify_all();
                ready.wait(lock, [&] { return arrived == 4; });
            });
            for (auto& thread : threads) thread.join();
            char* big = static_cast<char*>(std::malloc(1 << 20));
            std::memset(big, 1, 1 << 20);
            big = static_cast<char*>(std::realloc(big, 64 << 20));
            bool kept = big && big[(1 << 20) - 1] == 1;
            return sum == 1000 && arrived == 4 && kept && std::thread::hardware_concurrency() > 0 ? 42 : 1;
        }"#;
    let ended = call(source, &policy());
    assert_eq!(ended.exit, Exit::Code(42), "{}", ended.stderr.text());
}

#[test]
fn the_run_profile_refuses_everything_else_without_killing() {
    let source = r#"
        #include <initializer_list>
        #include <cerrno>
        #include <csignal>
        #include <sys/mman.h>
        #include <sys/prctl.h>
        #include <sys/socket.h>
        #include <sys/syscall.h>
        #include <sched.h>
        #include <unistd.h>
        #include <fcntl.h>
        static void handler(int) {}
        template <class T> static int refused(T result, int code) { return (long)result == -1 ? 0 : code; }
        extern "C" int symbol() {
            int bad = 0;
            auto check = [&](int code) { if (code && !bad) bad = code; };
            check(refused(open("/proc/self/maps", O_RDONLY), 1));
            check(refused(fork(), 2));
            check(refused(syscall(SYS_vfork), 3));
            check(refused(socket(AF_INET, SOCK_STREAM, 0), 4));
            check(refused(mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 5));
            void* page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            check(page == MAP_FAILED ? 6 : 0);
            check(refused(mprotect(page, 4096, PROT_READ | PROT_EXEC), 7));
            check(refused(mremap(page, 4096, 8192, MREMAP_MAYMOVE), 8));
            for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) check(refused(::signal(signal, handler) == SIG_ERR ? -1 : 0, 9));
            check(::signal(SIGUSR1, handler) == SIG_ERR ? 10 : 0);
            check(refused(kill(1, 0), 11));
            check(refused(prctl(PR_SET_DUMPABLE, 1), 12));
            cpu_set_t cpus; CPU_ZERO(&cpus); CPU_SET(0, &cpus);
            check(refused(sched_setaffinity(0, sizeof cpus, &cpus), 13));
            check(refused(syscall(SYS_memfd_create, "x", 0), 14));
            check(refused(syscall(SYS_userfaultfd, 0), 15));
            check(refused(syscall(SYS_io_uring_setup, 1, 0), 16));
            check(refused(execl("/bin/true", "true", nullptr), 17));
            check(refused(syscall(SYS_clone3, 0, 0), 18));
            check(errno == ENOSYS ? 0 : 19);
            check(refused(syscall(SYS_personality, 0xffffffff), 20));
            check(refused(syscall(SYS_seccomp, 0, 0, 0), 21));
            check(refused(syscall(SYS_process_vm_readv, getpid(), 0, 0, 0, 0, 0), 22));
            check(refused(syscall(SYS_ptrace, 0, 0, 0, 0), 23));
            check(refused(syscall(SYS_setpriority, 0, 0, 19), 24));
            check(refused(setpgid(0, 0), 25));
            return bad ? bad : 42;
        }"#;
    let ended = call(source, &policy());
    assert_eq!(ended.exit, Exit::Code(42), "{}", ended.stderr.text());
}

#[test]
fn a_fault_and_an_abort_keep_their_signals() {
    let fault = r#"extern "C" int symbol() { *reinterpret_cast<volatile int*>(8) = 1; return 0; }"#;
    assert_eq!(call(fault, &policy()).exit, Exit::Signal(11));
    let abort = r#"#include <cstdlib>
        extern "C" int symbol() { std::abort(); }"#;
    assert_eq!(call(abort, &policy()).exit, Exit::Signal(6));
}
