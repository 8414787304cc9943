//! Cedar's published workloads said in PERM, beside Cedar itself: gdrive, github, tinytodo. Random hierarchies, the same
//! requests, answers checked equal.
//!
//! Source: the workloads of "Cedar: A New Language for Expressive, Fast, Safe, and Analyzable Authorization" (OOPSLA
//! 2024), section 5: random hierarchies of so many entities of each type, 500 requests each.

mod gdrive;
mod github;
mod tinytodo;

use crate::report::Report;
use crate::timing::{Stopwatch, percentile};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr;
use tollgate_cells::HeapTable;
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{Entity as Named, Now, Request as Asked, Scratch, TenantState, Version};
use tollgate_proto::bundle::{File, Options, from_files};

/// Entities of each type.
const ENTITIES: usize = 50;
const HIERARCHIES: usize = 20;
const REQUESTS: usize = 500;
/// Each request is timed so often; the median of a request's times counts.
const ROUNDS: usize = 5;

/// One hierarchy in both languages.
struct World {
    model: &'static str,
    rows: BTreeSet<String>,
    cedar: &'static str,
    entities: Family,
    /// Principal, action, resource: names as both know them.
    requests: Vec<[String; 3]>,
}

/// Cedar's entities while they are made: parents and attributes by uid.
#[derive(Default)]
struct Family {
    parents: BTreeMap<String, BTreeSet<String>>,
    sets: BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>,
    references: BTreeMap<String, BTreeMap<&'static str, String>>,
    flags: BTreeMap<String, BTreeMap<&'static str, bool>>,
}

type Make = fn(&mut fastrand::Rng) -> World;

pub(crate) fn measure(report: &mut Report) {
    let workloads: [(&str, Make); 3] =
        [("gdrive", gdrive::world), ("github", github::world), ("tinytodo", tinytodo::world)];
    for (name, make) in workloads {
        let mut random = fastrand::Rng::with_seed(20_240_301);
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (mut allowed, mut asked) = (0, 0);
        for _ in 0..HIERARCHIES {
            let world = make(&mut random);
            let times = time(&world);
            allowed += times.allowed;
            asked += world.requests.len();
            let (mut one, mut other) = (times.ours.clone(), times.theirs.clone());
            ratios.push(percentile(&mut other, 0.5) / percentile(&mut one, 0.5));
            ours.extend(times.ours);
            theirs.extend(times.theirs);
        }
        for (engine, samples) in [("tollgate", &mut ours), ("cedar", &mut theirs)] {
            report.put(format!("workload.{name}.{engine}.p50_ns"), percentile(samples, 0.5));
            report.put(format!("workload.{name}.{engine}.p99_ns"), percentile(samples, 0.99));
        }
        report.put(format!("workload.{name}.cedar_over_tollgate"), percentile(&mut ratios, 0.5));
        report.put(format!("workload.{name}.allowed_share"), allowed as f64 / asked as f64);
    }
    report.note(format!(
        "Workloads gdrive, github and tinytodo: {HIERARCHIES} random hierarchies of {ENTITIES} entities of each type, {REQUESTS} requests \
         each, answers checked equal; Cedar's `is_authorized` alone, our whole decision."
    ));
}

struct Times {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    allowed: usize,
}

/// Each request by both, in turn.
fn time(world: &World) -> Times {
    let stopwatch = Stopwatch::calibrate();
    let state = compile(world);
    let (authorizer, policies) =
        (Authorizer::new(), PolicySet::from_str(world.cedar).expect("Cedar reads the policies"));
    let entities = world.entities.build();
    let table = HeapTable::new(64, TableSecret::new([1, 2]));
    let (cells, mut scratch) = (table.cells(), Scratch::default());
    let mut times = Times { ours: Vec::new(), theirs: Vec::new(), allowed: 0 };
    let cedars: Vec<Request> = world.requests.iter().map(cedar_request).collect();
    for (names, cedar) in world.requests.iter().zip(&cedars) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let [subject, action, resource] = names;
        for round in 0..ROUNDS {
            let request = Asked {
                tenant: "w",
                subject: Named { kind: "", id: subject },
                resource: Named { kind: "", id: resource },
                action,
                ..Asked::default()
            };
            let (ns, decision) =
                stopwatch.time(|| state.decide(&cells, &request, Now(1_000_000_000), &mut scratch));
            ours.push(ns);
            let (ns, answer) =
                stopwatch.time(|| authorizer.is_authorized(cedar, &policies, &entities));
            theirs.push(ns);
            let is_allowed = answer.decision() == Decision::Allow;
            assert_eq!(decision.is_allow(), is_allowed, "{names:?} in round {round}");
            times.allowed += usize::from(is_allowed && round == 0);
        }
        times.ours.push(percentile(&mut ours, 0.5));
        times.theirs.push(percentile(&mut theirs, 0.5));
    }
    times
}

fn compile(world: &World) -> TenantState {
    let rows: String = world.rows.iter().map(|row| format!("{row}\n")).collect();
    let files = [
        File { path: "model.conf", bytes: world.model.as_bytes() },
        File { path: "policy.csv", bytes: rows.as_bytes() },
    ];
    let options = Options::new(42, Version { epoch: 1, seq: 1 });
    let mut folder = from_files("w", &files, options).expect("the workload compiles");
    folder.tenants.remove(0)
}

fn uid(name: &str) -> EntityUid {
    let (kind, _) = name.split_once('-').expect("names say their type");
    EntityUid::from_str(&format!("{kind}::\"{name}\"")).expect("an entity id")
}

fn cedar_request([subject, action, resource]: &[String; 3]) -> Request {
    let action = EntityUid::from_str(&format!("Action::\"{action}\"")).expect("an action");
    Request::new(uid(subject), action, uid(resource), Context::empty(), None).expect("a request")
}

impl Family {
    fn parent(&mut self, of: &str, parent: &str) {
        self.parents.entry(of.to_owned()).or_default().insert(parent.to_owned());
        self.parents.entry(parent.to_owned()).or_default();
    }

    fn build(&self) -> Entities {
        let entity = |(name, parents): (&String, &BTreeSet<String>)| {
            use cedar_policy::RestrictedExpression as Expression;
            let mut attributes: HashMap<String, Expression> = HashMap::new();
            let reference = |name: &String| Expression::new_entity_uid(uid(name));
            for (attribute, members) in self.sets.get(name).into_iter().flatten() {
                let set = Expression::new_set(members.iter().map(reference));
                attributes.insert((*attribute).to_owned(), set);
            }
            for (attribute, other) in self.references.get(name).into_iter().flatten() {
                attributes.insert((*attribute).to_owned(), reference(other));
            }
            for (attribute, flag) in self.flags.get(name).into_iter().flatten() {
                attributes.insert((*attribute).to_owned(), Expression::new_bool(*flag));
            }
            let parents: HashSet<EntityUid> = parents.iter().map(|name| uid(name)).collect();
            Entity::new(uid(name), attributes, parents).expect("attributes are values")
        };
        Entities::from_entities(self.parents.iter().map(entity), None)
            .expect("Cedar reads the entities")
    }
}

fn one_of<'n>(random: &mut fastrand::Rng, names: &'n [String]) -> &'n str {
    &names[random.usize(..names.len())]
}

fn named(kind: &str) -> Vec<String> {
    (0..ENTITIES).map(|number| format!("{kind}-{number}")).collect()
}

/// Every third team or so stands below one before it.
fn put_teams_below_teams(
    random: &mut fastrand::Rng,
    teams: &[String],
    rows: &mut BTreeSet<String>,
    entities: &mut Family,
) {
    for (at, team) in teams.iter().enumerate() {
        entities.parents.entry(team.clone()).or_default();
        if at > 0 && random.u8(..3) == 0 {
            let above = teams[random.usize(..at)].clone();
            entities.parent(team, &above);
            rows.insert(format!("g, {team}, {above}"));
        }
    }
}
