//! Figures from texts as the kernel writes them, and one look at this machine.

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr, Ifv6Addr};
use procfs::FromRead;

use super::*;

fn stats(disks: &[&str]) -> Stats {
    let text = format!("listen 1; stats {{ disk {}; }}", disks.join(" "));
    let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot.stats
}

#[test]
fn sockets_are_counted_for_both_families() {
    let v4 = "sockets: used 3621\nTCP: inuse 2700 orphan 3 tw 441 alloc 3167 mem 419\nUDP: inuse 4 mem 2\nRAW: inuse 0\n";
    let v6 = "TCP6: inuse 18\nUDP6: inuse 1\n";
    let expected = Sockets { tcp: 3159, established: 18, time_wait: 441, udp: 5 };
    assert_eq!(count_sockets(v4, v6, 18), expected);
    assert_eq!(count_sockets(v4, "", 18).udp, 4, "without IPv6");
    assert_eq!(count_sockets("garbage\nTCP: inuse x tw", "TCP6:", 0), Sockets::default());
}

#[test]
fn processors_are_counted_from_ranges() {
    assert_eq!(count_ranges("0-1\n"), Some(2));
    assert_eq!(count_ranges("0"), Some(1));
    assert_eq!(count_ranges("0-3,8,10-11\n"), Some(7));
    for bad in ["", "a-b", "3-1", "0-"] {
        assert_eq!(count_ranges(bad), None, "{bad}");
    }
}

#[test]
fn shares_are_fractions_of_what_passed_between_two_looks() {
    assert_eq!(cores(None, (3000, 50), 100), 0.0, "one look says nothing");
    assert_eq!(cores(Some((1000, 100)), (4000, 250), 100), 0.5);
    assert_eq!(cores(Some((1000, 100)), (4000, 700), 100), 2.0, "two cores");
    assert_eq!(cores(Some((1000, 100)), (1000, 100), 100), 0.0, "no time has passed");

    let before = Cpu { user: 100, system: 100, idle: 800, ..Cpu::default() };
    let now = Cpu { user: 140, system: 105, idle: 850, iowait: 5, ..Cpu::default() };
    assert_eq!(busy(&before, &now), 0.45);
    assert_eq!(busy(&now, &now), 0.0);
    assert_eq!(busy(&now, &before), 0.0, "counters that go back");
}

#[test]
fn memory_in_use_is_what_the_kernel_would_not_give_back() {
    let text = "MemTotal: 24684084 kB\nMemFree: 20000000 kB\nMemAvailable: 23000000 kB\nBuffers: 684084 kB\n\
                Cached: 3000000 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 1000 kB\n\
                SwapFree: 750 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\nVmallocTotal: 0 kB\n\
                VmallocUsed: 0 kB\nVmallocChunk: 0 kB\nCommitted_AS: 0 kB\nPageTables: 0 kB\nAnonPages: 0 kB\n\
                NFS_Unstable: 0 kB\nBounce: 0 kB\nWritebackTmp: 0 kB\nCommitLimit: 0 kB\nShmem: 0 kB\n";
    let memory = to_memory(7, &Meminfo::from_read(Cursor::new(text)).unwrap());
    assert_eq!((memory.time, memory.total, memory.active()), (7, 24_684_084, 4_684_084));
    assert_eq!((memory.in_use(), memory.not_in_use()), (1_000_000, 23_684_084));
    assert_eq!((format!("{:.2}", memory.share()), memory.swap_share()), ("0.04".into(), 0.25));
    assert_eq!(Memory::default().share(), 0.0);
}

fn disks(sda: [u64; 3], sdb: [u64; 3]) -> DiskStats {
    let line = |name: &str, [read, written, busy]: [u64; 3]| {
        format!("   8       0 {name} 10 0 {read} 5 20 0 {written} 7 0 {busy} 12 0 0 0 0 0 0\n")
    };
    let text = line("sda", sda) + &line("sda1", sda) + &line("sdb", sdb);
    DiskStats::from_read(Cursor::new(text)).unwrap()
}

#[test]
fn chosen_disks_are_added_up_and_the_busiest_tells_how_busy() {
    let chosen = ["sda".to_owned(), "sdb".to_owned(), "sdx".to_owned()];
    let before = count_disks(1000, disks([100, 200, 50], [0, 0, 0]), &chosen, None);
    let now = count_disks(7000, disks([12_100, 24_200, 3050], [12_000, 0, 600]), &chosen, None);
    assert_eq!(rates(&before, &now), Disk { read: 2000, written: 2000, busy: 0.5 });
    assert_eq!(rates(&now, &before), Disk::default(), "counters that go back");
    assert_eq!(rates(&now, &now), Disk::default(), "no time has passed");
}

#[test]
fn without_a_choice_the_totals_of_the_machine_count() {
    let before = count_disks(0, disks([0; 3], [0; 3]), &[], Some((1000, 5000)));
    let now = count_disks(6000, disks([9999, 9999, 600], [0; 3]), &[], Some((1264, 6656)));
    assert_eq!(rates(&before, &now), Disk { read: 44, written: 276, busy: 0.1 });
}

fn interface(name: &str, ip: IpAddr) -> Interface {
    let addr = match ip {
        IpAddr::V4(ip) => {
            IfAddr::V4(Ifv4Addr { ip, netmask: Ipv4Addr::BROADCAST, prefixlen: 32, broadcast: None })
        }
        IpAddr::V6(ip) => {
            IfAddr::V6(Ifv6Addr { ip, netmask: Ipv6Addr::UNSPECIFIED, prefixlen: 0, broadcast: None })
        }
    };
    Interface { name: name.into(), addr, index: None, oper_status: IfOperStatus::Up, is_p2p: false }
}

#[test]
fn interfaces_are_public_or_private_and_count_once() {
    let interfaces = [
        interface("lo", "127.0.0.1".parse().unwrap()),
        interface("eth0", "203.0.113.9".parse().unwrap()),
        interface("eth0", "2001:db8::9".parse().unwrap()),
        interface("eth0", "fe80::1".parse().unwrap()),
        interface("br0", "192.168.1.1".parse().unwrap()),
    ];
    let devices = [("lo", 1, 2), ("eth0", 10, 20), ("br0", 100, 200), ("port0", 1000, 2000)]
        .map(|(n, r, s)| (n.to_owned(), r, s));
    let sum = sum_network(5, devices.into_iter(), &interfaces);
    let expected = Network { time: 5, received: 10, sent: 20, received_inside: 101, sent_inside: 202 };
    assert_eq!(sum, expected);
    let outside = address::reachable(&interfaces);
    assert_eq!(outside.len(), 4);
    assert_eq!(address::reachable(&interfaces[..1]), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
}

#[test]
fn a_look_at_this_machine() {
    let mut sampler = Sampler::default();
    let own = |time| Own { time, clients: 3, received: 4, sent: 5 };
    let first = sampler.look(&stats(&[]), own(1_000_000));
    assert_eq!(first.process.as_ref().unwrap().stat.pid, std::process::id() as i32);
    assert!(first.usage.unwrap().max_rss > 1000 && first.memory.unwrap().total > 100_000);
    assert!(first.cpu.unwrap().total() > 100 && first.cpus >= first.cpus_online && first.cpus_online > 0);
    assert!(first.load.unwrap().uptime > 0.0 && first.network.is_some() && first.sockets.is_some());
    assert_eq!(first.own, own(1_000_000));

    let second = sampler.look(&stats(&[]), own(1_003_000));
    assert_eq!(second.process.unwrap().time, 1_003_000);
    assert_eq!(second.memory, first.memory, "looked at every second time only");

    let off = mill_config::model::Stats { enabled: false, ..stats(&[]) };
    let none = sampler.look(&off, own(1_006_000));
    assert!(none.process.is_none() && none.memory.is_none() && none.own.clients == 3);
}
