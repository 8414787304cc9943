//! The pages for readers run as they stand: README, tutorial, recipes.

use crate::up::free_port;
use crate::{Folder, PROGRAM, ROOT, text};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_console_blocks_of_the_readme_run() {
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let mut checked = 0;
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ tollgate ") else { continue };
            let mut expected = Vec::new();
            while let Some(next) = lines.next_if(|next| !next.starts_with("$ ")) {
                expected.push(next);
            }
            let script = format!("{PROGRAM} {command}");
            let output =
                Command::new("sh").args(["-c", &script]).current_dir(ROOT).output().unwrap();
            let got = text(&output.stdout);
            let stable = |line: &str| {
                line.rsplit_once(" · ")
                    .filter(|(_, t)| t.ends_with("ms"))
                    .map_or(line.to_owned(), |(head, _)| head.to_owned())
            };
            let got: Vec<String> = got.lines().map(stable).collect();
            let expected: Vec<String> = expected.into_iter().map(stable).collect();
            assert_eq!(got, expected, "{command}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "the README shows {checked} commands");
}

/// Each command of a page's console blocks, and the lines that it should print.
fn console(page: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(format!("{ROOT}/{page}")).unwrap();
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((_, expected))) => expected.push(line.to_owned()),
                (None, None) => panic!("{page} shows output before a command"),
            }
        }
    }
    commands
}

/// Whether lines are what was expected; `…` stands for any number of lines.
fn matches(got: &[String], expected: &[String]) -> bool {
    match (got, expected) {
        ([], []) => true,
        (_, [any, rest @ ..]) if any == "…" => {
            (0..=got.len()).any(|skipped| matches(&got[skipped..], rest))
        }
        ([line, got @ ..], [wanted, rest @ ..]) => line == wanted && matches(got, rest),
        _ => false,
    }
}

/// The files that a page shows, by name: blocks that begin with "text file=NAME".
fn shown_files(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("{ROOT}/{page}")).unwrap();
    let block = |block: &str| {
        let (name, rest) = block.split_once('\n').unwrap();
        (name.to_owned(), rest.split("```").next().unwrap().to_owned())
    };
    text.split("```text file=").skip(1).map(block).collect()
}

/// Runs the commands of a page one behind the other, in a folder with the files that it shows.
fn run_page(page: &str) -> usize {
    let own = Folder::new();
    for (name, content) in shown_files(page) {
        own.write(&name, content.as_bytes());
    }
    let commands = console(page);
    let mut script = String::new();
    for (command, _) in &commands {
        script.push_str(&format!("echo '@@@'\n{command}\n"));
    }
    let programs = Path::new(PROGRAM).parent().unwrap().display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let ran = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&own.0)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env("TOLLGATE_PORT", free_port().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stable = |line: &str| match line.rsplit_once(" · ") {
        Some((head, time)) if time.ends_with(" ms") => head.to_owned(),
        _ => line.to_owned(),
    };
    let printed = text(&ran.stdout);
    let outputs: Vec<&str> = printed.split("@@@\n").skip(1).collect();
    assert_eq!(outputs.len(), commands.len(), "{printed}\n{}", text(&ran.stderr));
    for ((command, expected), output) in commands.iter().zip(outputs) {
        let got: Vec<String> = output.lines().map(stable).collect();
        let expected: Vec<String> = expected.iter().map(|line| stable(line)).collect();
        assert!(matches(&got, &expected), "{command}\n{got:#?}\n{}", text(&ran.stderr));
    }
    commands.len()
}

#[test]
fn the_tutorial_runs() {
    assert!(run_page("docs/tutorial/README.md") > 15);
}

#[test]
fn the_recipes_run() {
    assert!(run_page("docs/recipes/coming-from-casbin.md") > 3);
    assert!(run_page("docs/recipes/coming-from-opa.md") > 0);
    assert!(run_page("docs/recipes/coming-from-kong.md") > 2);
    assert!(run_page("docs/recipes/coming-from-litellm.md") > 1);
    assert!(run_page("docs/recipes/policy-shell.md") > 0);
}
