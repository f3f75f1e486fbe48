//! A container's processes, as `docker top` shows them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(processes_are_shown_in_the_columns_of_ps);

fn processes_are_shown_in_the_columns_of_ps(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let script = "sleep 1234 & exec sleep 4321";
    home.holm(&["run", "-d", "--name", "isle", "-u", "user", "busybox", "sh", "-c", script]).ok();
    let top = |words: &[&str]| home.docker(&[["top", "isle"].as_slice(), words].concat());
    let table = |words: &[&str]| -> Vec<Vec<String>> {
        let shown = top(words).ok();
        shown.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };

    // The shell takes a moment to become what it is told.
    let mut full = table(&[]);
    while full.iter().any(|line| line.contains(&"sh".to_owned())) || full.len() < 3 {
        full = table(&[]);
    }
    assert_eq!(full[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!(full.len(), 3, "{full:?}");
    let first = home.docker(&["inspect", "-f", "{{.State.Pid}}", "isle"]).line();
    assert_eq!((full[1][0].as_str(), &full[1][1]), ("1000", &first));
    assert_eq!(
        (&full[1][7..], &full[2][7..]),
        (["sleep", "4321"].map(str::to_owned).as_slice(), ["sleep", "1234"].map(str::to_owned).as_slice())
    );

    assert_eq!(table(&["aux"])[0].join(" "), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND");
    assert_eq!(
        table(&["-o", "pid,comm"]),
        [
            vec!["PID".to_owned(), "COMMAND".to_owned()],
            vec![first.clone(), "sleep".to_owned()],
            vec![full[2][1].clone(), "sleep".to_owned()]
        ]
    );
    let long = table(&["-l"]);
    assert_eq!(long[0].join(" "), "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD");
    let number = |column: usize| long[1][column].parse::<i32>().unwrap();
    assert_eq!((long[1][1].as_str(), long[1][2].as_str(), number(6) - number(7)), ("S", "1000", 80));
    assert_eq!((long[1][9].parse::<u32>().is_ok(), &long[1][3]), (true, &first));
    // A line for each thread: each of these has one, of its own number.
    let threads = table(&["-eLo", "pid,lwp,s,comm"]);
    assert_eq!(threads[1], [&first, &first, "S", "sleep"]);
    // Or below its process.
    let both = table(&["m", "-o", "pid,lwp,s,uid"]);
    assert_eq!(both[1..3], [[&first, "-", "-", "1000"], ["-", &first, "S", "1000"]]);

    let refused = top(&["-Z"]).fails_with(1);
    assert!(refused.contains("ps: unsupported option: -Z"), "{refused}");
    home.docker(&["rm", "-f", "isle"]).ok();
    let gone = top(&[]).fails_with(1);
    assert!(gone.contains("No such container: isle"), "{gone}");
}
