//! The sessions of this server that a program has: where it plays, it hears that the stream is over.
//!
//! An RTMP player stays when a publish ends, so ffmpeg would wait for more, and a signal that makes it stop waiting makes
//! it give up its output too, where a file has its end. When its input ends it finishes everything. Which sessions
//! are a program's is seen in `/proc`: the sockets of its process group, and their addresses.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use procfs::ProcResult;
use procfs::process::{FDTarget, Process};

use crate::clients::Clients;
use crate::listen::Connections;
use crate::tasks::Tasks;

/// How long the last frames have to reach a player.
const LAST_FRAMES: Duration = Duration::from_millis(500);

/// The sessions of a server.
pub(crate) struct LocalSessions {
    pub(crate) connections: Arc<Connections>,
    pub(crate) clients: Clients,
    pub(crate) tasks: Tasks,
}

impl LocalSessions {
    /// Ends those in which the processes of a group play, if there are any.
    pub(super) async fn hang_up(&self, group: u32) -> bool {
        // It reads files of the kernel only, but many.
        let ends = tokio::task::spawn_blocking(move || ends(group).unwrap_or_default()).await;
        let players: Vec<u64> =
            ends.unwrap_or_default().into_iter().filter_map(|end| self.player(end)).collect();
        if players.is_empty() {
            return false;
        }
        tokio::time::sleep(LAST_FRAMES).await;
        for player in players {
            self.tasks.cut(player);
        }
        true
    }

    fn player(&self, end: SocketAddr) -> Option<u64> {
        let id = self.connections.near(end)?;
        let plays = self.clients.get(id).is_some_and(|client| !client.kind.publishes());
        plays.then_some(id)
    }
}

/// Our ends of the TCP connections of a process group.
fn ends(group: u32) -> ProcResult<Vec<SocketAddr>> {
    let group = i32::try_from(group).unwrap_or_default();
    let mut sockets = HashSet::new();
    for process in procfs::process::all_processes()?.flatten() {
        if process.stat().is_ok_and(|stat| stat.pgrp == group) {
            sockets.extend(sockets_of(&process));
        }
    }
    let tables = [procfs::net::tcp()?, procfs::net::tcp6().unwrap_or_default()];
    let entries = tables.into_iter().flatten().filter(|entry| sockets.contains(&entry.inode));
    Ok(entries.map(|entry| entry.local_address).collect())
}

/// The sockets of a process; none of one that has just ended, which is no reason to forget the others.
fn sockets_of(process: &Process) -> Vec<u64> {
    let targets = process.fd().into_iter().flatten().flatten().map(|fd| fd.target);
    let inode = |target| if let FDTarget::Socket(inode) = target { Some(inode) } else { None };
    targets.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn one_that_ends_while_it_is_looked_at_has_no_sockets() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let stdin = Stdio::from(std::os::fd::OwnedFd::from(socket));
        let mut child = Command::new("sleep").arg("1000").stdin(stdin).spawn().unwrap();
        let process = Process::new(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!sockets_of(&process).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(sockets_of(&process).is_empty());
    }
}
