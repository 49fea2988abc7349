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
use procfs::process::FDTarget;

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
            let targets = process.fd()?.flatten().map(|fd| fd.target);
            sockets.extend(targets.filter_map(|target| match target {
                FDTarget::Socket(inode) => Some(inode),
                _ => None,
            }));
        }
    }
    let tables = [procfs::net::tcp()?, procfs::net::tcp6().unwrap_or_default()];
    let entries = tables.into_iter().flatten().filter(|entry| sockets.contains(&entry.inode));
    Ok(entries.map(|entry| entry.local_address).collect())
}
