//! The compile helper: loads the CUDA compiler, confines itself, and compiles what it is given until the other side hangs up.
//!
//! The compiler is trusted when it is loaded; from the first source on it is as hostile as that source. So the libraries
//! come first, then the confinement, and afterwards the process sees the toolkit's headers and nothing else.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use kernsmith_device::nvrtc::{COMPILATION_ERROR, Compilation, Nvrtc};
use kernsmith_sandbox::{Layer, Profile, confine, inherited_socket, restrict_syscalls};
use kernsmith_toolchain::cuda::protocol::{
    CompileJob, FromHelper, Hello, LOG_LIMIT_BYTES, ToHelper, build_id, read_frame, write_frame,
};

/// The hidden verb of the program: `kernsmith __nvrtc SOCKET`.
pub use kernsmith_toolchain::cuda::protocol::VERB as COMPILE_VERB;

/// Runs a compile helper over the inherited socket whose number is the first argument after the verb.
///
/// The exit code is 0 after an orderly end; 2 when it was not started by a toolchain; 3 when the apparatus failed.
pub fn compile_main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let number = arguments.into_iter().next().and_then(|text| text.parse().ok());
    let Some(socket) = number.and_then(inherited_socket) else {
        return ExitCode::from(2);
    };
    let mut stream = UnixStream::from(socket);
    let compiler = match begin(&mut stream) {
        Ok(compiler) => compiler,
        Err(reason) => {
            // Nobody may be listening; the exit code says it too.
            let _ = write_frame(&mut stream, &FromHelper::Failed { reason });
            return ExitCode::from(3);
        }
    };
    serve(&mut stream, &compiler);
    ExitCode::SUCCESS
}

fn begin(stream: &mut UnixStream) -> Result<Nvrtc, String> {
    let frame = read_frame(stream).map_err(|error| error.to_string())?;
    let ToHelper::Hello(hello) = frame else {
        return Err("the first frame was no greeting".to_owned());
    };
    let Hello { build, policy, nvrtc, builtins } = *hello;
    if build != build_id() {
        return Err("the compile helper is another build of this program; start it again".to_owned());
    }
    let compiler = Nvrtc::open(&nvrtc, builtins.as_deref()).map_err(|error| error.to_string())?;
    let version = compiler.version();
    let mut confinement = confine(&policy).map_err(|error| error.to_string())?;
    // Opening headers for reading is what loading needs too.
    match restrict_syscalls(Profile::Load) {
        Ok(()) => confinement.reach(Layer::Syscalls),
        Err(error) => confinement.missing.push((Layer::Syscalls, error.to_string())),
    }
    write_frame(stream, &FromHelper::Ready { build: build_id(), version, confinement })
        .map_err(|error| error.to_string())?;
    Ok(compiler)
}

fn serve(stream: &mut UnixStream, compiler: &Nvrtc) {
    while let Ok(ToHelper::Compile(job)) = read_frame(stream) {
        let (frame, cubin) = compile(compiler, &job);
        if write_frame(stream, &frame).and_then(|()| stream.write_all(&cubin)).is_err() {
            return;
        }
    }
}

fn compile(compiler: &Nvrtc, job: &CompileJob) -> (FromHelper, Vec<u8>) {
    let compilation =
        Compilation { source: &job.source, name: &job.name, options: &job.options, headers: &job.headers };
    match compiler.compile(&compilation) {
        Ok(mut answer) => {
            if answer.log.len() > LOG_LIMIT_BYTES {
                answer.log.truncate(answer.log.floor_char_boundary(LOG_LIMIT_BYTES));
            }
            let frame = FromHelper::Compiled {
                code: answer.code,
                message: answer.message,
                log: answer.log,
                cubin_bytes: answer.cubin.len() as u64,
            };
            (frame, answer.cubin)
        }
        // A zero byte in a text: the source's own fault.
        Err(error) => {
            let log = format!("{}: error: {error}", job.name);
            let code = COMPILATION_ERROR;
            (FromHelper::Compiled { code, message: error.to_string(), log, cubin_bytes: 0 }, Vec::new())
        }
    }
}
