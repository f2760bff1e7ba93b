//! The socket between two processes: whole packets, each with descriptors, to and from the same user only.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg, sendmsg,
        socket_with,
    },
    process::{Pid, PidfdFlags, Signal, getuid, pidfd_open, pidfd_send_signal},
};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
    time::timeout,
};

use super::message::{Message, Packet};

/// Bytes of a packet at most: the longest head and body that a connection has read ahead, and its client's certificate.
pub(super) const PACKET_BYTES_MAX: usize = 192 * 1024;
/// Descriptors that come with a packet at most.
const DESCRIPTORS_MAX: usize = 4;
/// Processes that wait to be heard.
const WAITING_MAX: i32 = 4;

/// One side of a connection between two processes.
#[derive(Debug)]
pub(crate) struct Link {
    /// Of packets, and used as a stream for nothing but to wait for it.
    socket: UnixStream,
}

/// A process that has connected, by a handle that cannot come to mean another one.
#[derive(Debug)]
pub(crate) struct Process {
    handle: Arc<OwnedFd>,
    pub(crate) pid: i32,
}

/// Where a successor connects.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

impl Listener {
    /// Takes the path's place, whatever stands there: its owner has the directory for itself. Within a runtime.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        // Under its name it is there with its permissions, or another's is.
        let unfinished = path.with_extension("new");
        let socket = socket()?;
        match fs::remove_file(&unfinished) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        bind(&socket, &SocketAddrUnix::new(&unfinished)?)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))?;
        listen(&socket, WAITING_MAX)?;
        fs::rename(&unfinished, path)?;
        Ok(Self { socket: UnixListener::from_std(socket.into())? })
    }

    /// The next process of this process' user. Others are not answered.
    pub(crate) async fn accept(&self) -> io::Result<(Link, Process)> {
        loop {
            let (socket, _) = self.socket.accept().await?;
            let peer = socket.peer_cred()?;
            if peer.uid() != getuid().as_raw() {
                tracing::warn!(uid = peer.uid(), "another user's process wanted to take over");
                continue;
            }
            let pid = peer.pid().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
            let handle = Arc::new(pidfd_open(pid, PidfdFlags::empty())?);
            return Ok((Link { socket }, Process { handle, pid: pid.as_raw_pid() }));
        }
    }
}

impl Process {
    /// Ends it, and returns when it has ended: then nothing is its own any more. False: it could not be ended in time.
    pub(crate) async fn kill(&self, within: Duration) -> bool {
        // An error: it has ended already.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        let handle = self.handle.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let within = Timespec { tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
            poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&within)).is_ok_and(|ended| ended == 1)
        });
        ended.await.unwrap_or(false)
    }
}

impl Link {
    /// Within a runtime.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let socket = UnixStream::from_std(socket.into())?;
        if socket.peer_cred()?.uid() != getuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self { socket })
    }

    pub(crate) async fn send(&self, packet: &Packet) -> io::Result<()> {
        let bytes = packet.encode();
        self.socket.async_io(Interest::WRITABLE, || self.write(&bytes, packet)).await
    }

    /// [`io::ErrorKind::WouldBlock`]: the other side is to read first.
    pub(crate) fn try_send(&self, packet: &Packet) -> io::Result<()> {
        let bytes = packet.encode();
        match self.write(&bytes, packet) {
            // Asked again so that the runtime knows that it is to be waited for.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.socket.try_io(Interest::WRITABLE, || self.write(&bytes, packet))
            }
            other => other,
        }
    }

    /// Ends when there may be room to send.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// [`io::ErrorKind::UnexpectedEof`]: the other side has gone.
    pub(crate) async fn recv(&self) -> io::Result<Packet> {
        self.socket.async_io(Interest::READABLE, || self.try_recv()).await
    }

    /// Calls `receive`, which is to use [`Link::try_recv`], until it is not for want of something to receive.
    pub(super) async fn readable<T>(&self, receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.socket.async_io(Interest::READABLE, receive).await
    }

    /// [`Link::recv`], and an error where it takes longer than `within`.
    pub(crate) async fn recv_within(&self, within: Duration) -> io::Result<Packet> {
        timeout(within, self.recv()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// [`Link::recv`], and [`io::ErrorKind::WouldBlock`] where nothing is there.
    pub(crate) fn try_recv(&self) -> io::Result<Packet> {
        thread_local! {
            static SCRATCH: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; PACKET_BYTES_MAX]);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(&self.socket, &mut [IoSliceMut::new(scratch)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
            let mut descriptors = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights);
                }
            }
            if received.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is longer than any of this protocol"));
            }
            Packet::decode(&scratch[..received.bytes], descriptors)
        })
    }

    fn write(&self, bytes: &[u8], packet: &Packet) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = packet.descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
        }
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// What was said in the place of what was waited for.
pub(super) fn unexpected(message: &Message) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected message: {message:?}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[tokio::test]
    async fn packets_come_whole_with_their_descriptors_and_the_end_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        fs::write(&path, "left behind").unwrap();
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let here = Link::connect(&path).unwrap();
        let (there, process) = listener.accept().await.unwrap();
        assert_eq!(process.pid, i32::try_from(std::process::id()).unwrap());

        let file = tempfile::tempfile().unwrap();
        let packet = Packet {
            message: Message::Line { record: Some(7) },
            payload: vec![9; 100_000],
            descriptors: vec![file.try_clone().unwrap().into()],
        };
        here.send(&packet).await.unwrap();
        here.send(&Packet::of(Message::Go)).await.unwrap();
        let mut got = there.recv().await.unwrap();
        assert_eq!((&got.message, got.payload.len(), got.descriptors.len()), (&packet.message, 100_000, 1));
        (&file).write_all(b"same").unwrap();
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        fs::File::from(got.descriptors.remove(0)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "same");
        assert_eq!(there.recv().await.unwrap().message, Message::Go);
        assert_eq!(there.try_recv().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(here);
        assert_eq!(there.recv().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
