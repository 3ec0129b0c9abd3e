//! Packets over a socket pair, with file descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest frame in bytes.
pub const FRAME_LIMIT: usize = 128 * 1024;
/// The largest number of file descriptors beside a frame.
pub const MAX_FILES: usize = 16;
const MAGIC: [u8; 4] = *b"KSW1";

/// Why a frame could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side has hung up.
    #[error("the other side has hung up")]
    Closed,
    /// Nothing came in time.
    #[error("no frame came in {0:?}")]
    Timeout(Duration),
    /// A frame is longer than [`FRAME_LIMIT`] or carries more than [`MAX_FILES`] file descriptors.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// The bytes are no frame.
    #[error("not a frame: {0}")]
    Malformed(String),
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[from] std::io::Error),
}

impl From<rustix::io::Errno> for WireError {
    fn from(error: rustix::io::Errno) -> Self {
        match error {
            rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET => Self::Closed,
            other => Self::Socket(other.into()),
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    buffer: Vec<u8>,
    peer: Option<i32>,
}

/// A new connection: the harness's end, and the socket that the worker inherits.
pub fn pair() -> Result<(Channel, OwnedFd), WireError> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Channel::new(ours), theirs))
}

impl Channel {
    /// Speaks over a socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: vec![0; FRAME_LIMIT + 1], peer: None }
    }

    /// In the worker: speaks over the socket that it inherited under this number. `None` where that is no socket.
    #[expect(unsafe_code, reason = "an inherited descriptor is only known by its number")]
    pub fn inherited(number: RawFd) -> Option<Self> {
        if number <= 2 {
            return None;
        }
        // SAFETY: the worker calls this once, first thing; nothing else in the process knows the descriptor.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        if rustix::net::sockopt::socket_type(&socket) == Ok(SocketType::SEQPACKET) {
            return Some(Self::new(socket));
        }
        // Not ours to close.
        std::mem::forget(socket);
        None
    }

    /// In the harness: makes [`Channel::peer`] work.
    pub fn ask_for_credentials(&self) -> Result<(), WireError> {
        Ok(rustix::net::sockopt::set_socket_passcred(&self.socket, true)?)
    }

    /// The process that sent the last frame, as this process numbers it; `None` before the first one.
    pub const fn peer(&self) -> Option<i32> {
        self.peer
    }

    /// The socket, to be waited for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends one frame.
    pub fn send<T: Serialize>(&self, frame: &T, files: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        self.send_encoded(&encode(frame)?, files)
    }

    /// Sends one frame that was encoded before, when there was time.
    pub fn send_encoded(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        if bytes.len() > FRAME_LIMIT || files.len() > MAX_FILES {
            return Err(WireError::TooLong(bytes.len()));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for one frame; `None` waits for ever.
    pub fn receive<T: DeserializeOwned>(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<(T, Vec<OwnedFd>), WireError> {
        if let Some(timeout) = timeout {
            self.wait(timeout)?;
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let packet = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut files = Vec::new();
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(rights) => files.extend(rights),
                RecvAncillaryMessage::ScmCredentials(sender) => {
                    self.peer = Some(sender.pid.as_raw_nonzero().get());
                }
                _ => {}
            }
        }
        if packet.bytes == 0 {
            return Err(WireError::Closed);
        }
        if packet.bytes > FRAME_LIMIT || packet.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(WireError::TooLong(packet.bytes));
        }
        Ok((decode(&self.buffer[..packet.bytes])?, files))
    }

    /// Waits until a frame or the end of the connection is there.
    pub fn wait(&self, timeout: Duration) -> Result<(), WireError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut watched = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut watched, Some(&left)) {
                Ok(0) => return Err(WireError::Timeout(timeout)),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The bytes of one frame.
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = MAGIC.to_vec();
    serde_json::to_writer(&mut bytes, frame).map_err(|error| WireError::Malformed(error.to_string()))?;
    Ok(bytes)
}

/// The frame in some bytes, which may come from anybody.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let body = bytes
        .strip_prefix(&MAGIC)
        .ok_or_else(|| WireError::Malformed("it does not begin with the protocol's mark".to_owned()))?;
    serde_json::from_slice(body).map_err(|error| WireError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{FromWorker, ToWorker};

    #[test]
    fn frames_and_files_arrive_together() {
        let (mut ours, theirs) = pair().unwrap();
        let theirs = Channel::new(theirs);
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        theirs.send(&ToWorker::Bye, &[file.as_fd(), file.as_fd()]).unwrap();
        let (frame, files) = ours.receive::<ToWorker>(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(frame, ToWorker::Bye);
        assert_eq!(files.len(), 2);
        drop(theirs);
        assert!(matches!(ours.receive::<ToWorker>(None), Err(WireError::Closed)));
    }

    #[test]
    fn a_long_frame_is_refused_by_both_sides() {
        let (mut ours, theirs) = pair().unwrap();
        let long = ToWorker::Load { path: "x".repeat(FRAME_LIMIT), symbols: vec![] };
        assert!(matches!(ours.send(&long, &[]), Err(WireError::TooLong(_))));
        rustix::net::send(&theirs, &vec![b'x'; FRAME_LIMIT + 10], SendFlags::empty()).unwrap();
        assert!(matches!(ours.receive::<FromWorker>(None), Err(WireError::TooLong(_))));
    }

    #[test]
    fn silence_is_a_timeout() {
        let (mut ours, _theirs) = pair().unwrap();
        let error = ours.receive::<FromWorker>(Some(Duration::from_millis(1))).unwrap_err();
        assert!(matches!(error, WireError::Timeout(_)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_become_a_frame(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let (mut ours, theirs) = pair().unwrap();
            rustix::net::send(&theirs, &bytes, SendFlags::empty()).unwrap();
            prop_assert!(matches!(ours.receive::<FromWorker>(None), Err(WireError::Malformed(_))));
        }
    }
}
