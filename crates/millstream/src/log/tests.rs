use super::*;

#[test]
fn values_of_parameters_are_not_logged() {
    let redacted = |s| Redacted(s).to_string();
    assert_eq!(redacted("rtmp://h/live"), "rtmp://h/live");
    assert_eq!(redacted("rtmp://h/live?vhost=a.com&token=secret"), "rtmp://h/live?vhost=a.com&token=***");
    assert_eq!(redacted("?secret"), "?***");
    for (url, shown) in [
        ("rtmp://user:pass@h:1935/live", "rtmp://***@h:1935/live"),
        ("http://u:p@h?k=v@w", "http://***@h?k=***"),
        ("http://h/a@b", "http://h/a@b"),
        ("rtmp://h/live...token...secret", "rtmp://h/live...token...***"),
        ("rtmp://h/live...vhost...a.com...token...secret", "rtmp://h/live...vhost...a.com...token...***"),
        ("rtmp://h/live?vhost=a.com...token...secret", "rtmp://h/live?vhost=a.com...token...***"),
        ("rtmp://h/live,vhost,a.com,token,secret", "rtmp://h/live,vhost,a.com,token,***"),
        ("live,token,secret,vhost,a.com", "live,token,***,vhost,a.com"),
        ("s?token=secret==&flag&x=secret,a=secret", "s?token=***&***&x=***"),
        ("/live/a,b=c.flv?k", "/live/a,b=c.flv?***"),
        ("?", "?***"),
        ("", ""),
    ] {
        assert_eq!(redacted(url), shown);
    }
}

/// The one test that starts the log of this process; what other tests log comes in between.
#[test]
fn everything_can_be_changed_while_it_is_written() {
    let dir = std::env::temp_dir().join(format!("millstream-log-{}", std::process::id()));
    let conf = |name: &str| model::Log {
        tank: Tank::File,
        file: dir.join(name),
        level: Least::Info,
        format: Format::Plain,
    };
    let reads = |name: &str, word: &str| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
            if text.contains(word) || std::time::Instant::now() > end {
                return text;
            }
            std::thread::yield_now();
        }
    };

    let log = init(&conf("a"), true).unwrap();
    let control = log.control();
    tracing::info!("first");
    tracing::debug!("too fine");
    let wanted = model::Log { level: Least::Debug, format: Format::Json, ..conf("b") };
    control.commit(control.prepare(&wanted, false).unwrap());
    tracing::debug!("second");
    let (a, b) = (reads("a", "first"), reads("b", "second"));
    assert!(a.contains("[Trace]") && a.contains("first"), "{a}");
    assert!(!a.contains("too fine") && !a.contains("second"), "{a}");
    let line = b.lines().find(|line| line.contains("second")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"debug".into(), &"second".into()));

    // What cannot be opened changes nothing.
    assert!(control.prepare(&model::Log { file: "/proc/no/log".into(), ..wanted.clone() }, false).is_err());
    // Nor does what is not wanted in the end.
    drop(control.prepare(&conf("c"), true).unwrap());
    tracing::debug!("third");
    assert!(reads("b", "third").contains("third"));

    // Rotation: old lines in the old file, new ones in the new.
    std::fs::rename(dir.join("b"), dir.join("b.1")).unwrap();
    control.reopen();
    tracing::debug!("fourth");
    assert!(reads("b", "fourth").contains("fourth"));
    let old = reads("b.1", "third");
    assert!(old.contains("third") && !old.contains("fourth"), "{old}");

    // A new file that cannot be opened: the old one is kept, and says why.
    std::fs::rename(dir.join("b"), dir.join("b.2")).unwrap();
    std::fs::create_dir(dir.join("b")).unwrap();
    control.reopen();
    tracing::debug!("fifth");
    let old = reads("b.2", "fifth");
    assert!(old.contains("fifth"), "{old}");
    assert!(reads("b.2", "cannot be opened").contains("the log stays in the file that is open"));

    // A panic in a task is a line.
    let panicked = std::thread::spawn(|| panic!("of a test")).join();
    assert!(panicked.is_err());
    assert!(reads("b.2", "of a test").contains("panicked at"));
    drop(log);
    std::fs::remove_dir_all(&dir).unwrap();
}
