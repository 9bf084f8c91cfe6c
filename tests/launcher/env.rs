//! Where env(1) starts the program, in the first line of a script or in the user's own command: it is refused where the
//! library would not come along.

use std::fs;

use super::common::{LIBRARY, Scratch, clean, output, refusal, told, wswrap};
use wstests::library;

/// What env makes of a first line is asked of env itself: the oracle of this test.
#[test]
fn a_line_is_refused_exactly_where_env_drops_the_library_or_fails() {
    let scratch = Scratch::new();
    scratch.program("say", "#!/bin/sh\necho $LD_PRELOAD\n");
    let mut seen = [0, 0];
    for line in [
        "sh",
        "-S sh -e",
        "-vS sh -e",
        "-vvSsh",
        "-S -v -- sh",
        "--split-string=sh",
        "--sp=sh",
        "-S -S'sh -e'",
        "-S 'sh' \"-e\" #x",
        "-S sh\\_-e",
        "-S ${SH} -e",
        "-S ${NONE}sh",
        "-S -u HOME --unset=LANG A=b sh",
        "-S env -u HOME /usr/bin/env A='b c' sh",
        "-S --default-signal=PIPE --block-signal sh",
        "-S -C / sh -c '${HERE}/say'",
        "-S -C ${HERE} ./say",
        "-S --chdir=/ -C ${HERE} PATH=.:/bin say",
        "-S PATH=${HERE} say",
        "-S LD_PRELOAD=${LD_PRELOAD} sh",
        "-S LD_PRELOAD=\"libm.so.6 ${LD_PRELOAD}\" sh",
        "-S -i LD_PRELOAD=${LD_PRELOAD} WSWRAP_PORT=none PATH=/bin sh",
        "-iS sh",
        "-S -i sh",
        "-S -vi sh",
        "-S \"-i\" sh",
        "-S '-'i sh",
        "-S - sh",
        "-S -- - sh",
        "-S --ignore-env sh",
        "-S --ignore-environment sh",
        "-S \\_-i sh",
        "-S ${DASH_I} sh",
        "-S -S-i sh",
        "-S -uLD_PRELOAD sh",
        "-S -vu LD_PRELOAD sh",
        "-S --unset=LD_PRELOAD sh",
        "-S --uns LD_PRELOAD sh",
        "-S -u ${NAME} sh",
        "-S LD_PRELOAD= sh",
        "-S LD_PRELOAD=libm.so.6 sh",
        "-S 'LD_PRELOAD'=\"\" sh",
        "-S A=b env -i sh",
        "-S env -u LD_PRELOAD /usr/bin/env sh",
        "-v sh",
        "-S --i sh",
        "-S --nothing sh",
        "-S --null sh",
        "-S -x sh",
        "-S 'sh",
        "-S sh\\x",
        "-S $SH",
        "-S PATH=/nonexistent sh",
    ] {
        let script = scratch.program("script", format!("#!/usr/bin/env {line}\necho $LD_PRELOAD\n"));
        let with = |mut command: std::process::Command| {
            command.envs([("SH", "sh"), ("DASH_I", "-i"), ("NAME", "LD_PRELOAD")]).env("HERE", &scratch.0);
            command
        };
        let mut bare = with(clean(&script));
        let bare = output(bare.env("LD_PRELOAD", library()).env("WSWRAP_PORT", "none"));
        let kept = bare.status.success() && String::from_utf8_lossy(&bare.stdout).contains(LIBRARY);
        let mut wrapped = with(wswrap([&script]));
        seen[usize::from(kept)] += 1;
        if kept {
            assert!(told(&mut wrapped).contains(LIBRARY), "{line}");
        } else {
            let status = if !bare.status.success() { [126, 127] } else { [1, 1] };
            let refused = output(&mut wrapped).status.code();
            assert!(status.contains(&refused.unwrap_or(0)), "{line}: {refused:?}");
            refusal(&mut wrapped, refused.unwrap_or(0));
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    let scratch = Scratch::new();
    let script = |line: &str| scratch.program("script", format!("#!/usr/bin/env {line}\n"));
    for (line, status, why, instead) in [
        ("-S -vi sh", 1, "runs `env -i`, which takes LD_PRELOAD away: remove that", "`wswrap PORT sh FILE`"),
        ("-S A=b env -vuLD_PRELOAD sh -e", 1, "runs `env -u LD_PRELOAD`, which", "`wswrap PORT sh FILE`"),
        ("-S LD_PRELOAD=x ./sh", 1, "runs `env LD_PRELOAD=x`, which", "`wswrap PORT ./sh FILE`"),
        ("-v sh", 126, "gives env several words, which it splits behind `-S` alone: correct it", "PROGRAM FILE`"),
        ("-S 'sh", 126, "gives env a quote that does not end behind `-S`: correct it", "PROGRAM FILE`"),
        ("-S --i sh", 126, "gives env `--i` is ambiguous: correct it", "PROGRAM FILE`"),
        ("-u", 126, "gives env no command: correct it", "PROGRAM FILE`"),
        ("-uX -S sh", 126, "more than 8 scripts", "name the last interpreter itself"),
        ("A=b", 126, "more than 8 scripts", "name the last interpreter itself"),
    ] {
        let line = refusal(&mut wswrap([script(line)]), status);
        assert!(line.contains(why) && line.contains(instead), "{line}");
        assert!(line.contains("script: "), "{line}");
    }
}

#[test]
fn what_is_behind_env_is_looked_at() {
    let scratch = Scratch::new();
    scratch.compiled("static", &["-static"]);
    let inner = scratch.program("inner", format!("#!/usr/bin/env -S env A=b {}\n", scratch.path("static").display()));
    let outer = scratch.program("outer", format!("#!/usr/bin/env -S {} x\n", inner.display()));
    assert!(refusal(&mut wswrap([&outer]), 1).contains("static: statically linked"));
    assert!(refusal(wswrap(["env", "-C", ".", "./static"]).current_dir(&scratch.0), 1).contains("statically linked"));
    let endless = scratch.path("endless");
    scratch.program("endless", format!("#!/usr/bin/env {}\n", endless.display()));
    assert!(refusal(&mut wswrap([endless]), 126).contains("more than 8 scripts"));
    fs::remove_file(scratch.path("static")).expect("removed");
    assert!(refusal(&mut wswrap([outer]), 127).contains("no such file"));
}

#[test]
fn env_in_the_command_itself_is_read_as_well() {
    for words in [&["-i", "sh"][..], &["-u", "LD_PRELOAD", "sh"], &["A=b", "env", "-S", "LD_PRELOAD= sh"]] {
        let line = refusal(&mut wswrap(["env"].iter().chain(words)), 1);
        assert!(line.contains("takes LD_PRELOAD away") && line.contains(" wswrap PORT sh`"), "{line}");
    }
    assert!(refusal(&mut wswrap(["/usr/bin/env", "--ignore", "sh"]), 126).contains("`--ignore` is ambiguous"));
    for words in [&["A=b", "printenv", "LD_PRELOAD"][..], &["-u", "HOME"], &[]] {
        assert!(told(&mut wswrap(["env"].iter().chain(words))).contains(LIBRARY), "{words:?}");
    }
    assert!(told(&mut wswrap(["env", "--version"])).contains("env"));
}
