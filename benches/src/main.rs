//! One run, one table: decisions beside casbin, Cedar and regorus, buckets beside governor and
//! limitador, doors beside a raw echo, reload, Cedar's published workloads.
//!
//! Absolute times belong to the machine; the ratios are of one run. `bench echo PATH` is the raw
//! echo server that the door is measured beside. To add a question: a module that puts figures
//! into `Report`, a call here.

mod bucket;
mod change;
mod counting;
mod decide;
mod door;
mod hospital;
mod peers;
mod published;
mod quota;
mod reload;
mod report;
mod restart;
mod scale;
mod threads;
mod timing;
mod workload;

use report::Report;

/// As the sidecar allocates.
#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting(mimalloc::MiMalloc);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["echo", path] => door::echo(path),
        ["hot", path] => quota::hot_process(path),
        [] => {
            let mut report = Report::default();
            decide::measure(&mut report);
            bucket::measure(&mut report);
            quota::measure(&mut report);
            door::measure(&mut report);
            reload::measure(&mut report);
            restart::measure(&mut report);
            decide::explain(&mut report);
            scale::measure(&mut report);
            published::measure(&mut report);
            hospital::measure(&mut report);
            threads::measure(&mut report);
            report.write();
        }
        ["decide"] => {
            let mut report = Report::default();
            decide::measure(&mut report);
            report.print();
        }
        ["workloads"] => {
            let mut report = Report::default();
            published::measure(&mut report);
            hospital::measure(&mut report);
            threads::measure(&mut report);
            report.print();
        }
        ["explain"] => {
            let mut report = Report::default();
            decide::explain(&mut report);
            report.print();
        }
        ["scale"] => {
            let mut report = Report::default();
            scale::measure(&mut report);
            report.print();
        }
        ["log"] => {
            let mut report = Report::default();
            door::log_alone(&mut report);
            report.print();
        }
        ["bucket"] => {
            let mut report = Report::default();
            bucket::measure(&mut report);
            report.print();
        }
        ["quota"] => {
            let mut report = Report::default();
            bucket::measure(&mut report);
            quota::measure(&mut report);
            report.print();
        }
        ["restart"] => {
            let mut report = Report::default();
            restart::measure(&mut report);
            report.print();
        }
        ["reload"] => {
            let mut report = Report::default();
            reload::measure(&mut report);
            report.print();
        }
        ["profile", rules, active] => match (rules.parse(), workload::Active::named(active)) {
            (Ok(rules), Some(active)) => decide::profile(rules, active),
            _ => usage(),
        },
        ["profile-limits", count] => match count.parse() {
            Ok(count) => quota::profile(count),
            Err(_) => usage(),
        },
        ["door"] => {
            let mut report = Report::default();
            door::measure(&mut report);
            report.print();
        }
        _ => usage(),
    }
}

fn usage() {
    eprintln!(
        "usage: bench [decide | explain | scale | workloads | bucket | quota | door | log | reload | restart | profile RULES A|S|U | profile-limits N | echo PATH]"
    );
    std::process::exit(2);
}
