//! Workload W: tenants of 100 roles with 10 rules each, 3 roles a subject, 1 000 subjects a tenant,
//! 4 actions, keyMatch2, allow-and-deny, 5 % deny rows, three limits.

/// The model, the same text for every engine.
pub(crate) const MODEL: &str = "[request_definition]
r = sub, dom, obj, act
[policy_definition]
p = sub, dom, obj, act, eft
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.dom == p.dom && r.act == p.act && g(r.sub, p.sub, r.dom) && keyMatch2(r.obj, p.obj)
";

/// Generous: a benchmark of decisions, not of refusals.
pub(crate) const LIMITS: &str = r#"
[[limit]]
id = "tenant"
meter = "requests"
bucket = { rate = "10_000_000/s", burst = 1_000_000 }
[[limit]]
id = "subject"
meter = "requests"
bucket = { rate = "10_000_000/s", burst = 1_000_000 }
dimensions = ["subject"]
[[limit]]
id = "subject-hour"
meter = "requests"
bucket = { rate = "1_000_000/h", burst = 1_000_000 }
dimensions = ["subject"]
"#;

pub(crate) const ACTIONS: &[&str] = &["read", "create", "update", "delete"];
const SUBJECTS: usize = 1_000;

/// A size of W.
pub(crate) struct Workload {
    pub(crate) rules: usize,
    tenants: usize,
    roles: usize,
}

/// One rule.
pub(crate) struct Rule {
    pub(crate) tenant: usize,
    pub(crate) role: usize,
    pub(crate) number: usize,
    pub(crate) action: &'static str,
    pub(crate) allow: bool,
}

/// One request, owned.
pub(crate) struct Ask {
    pub(crate) tenant: String,
    pub(crate) subject: String,
    pub(crate) resource: String,
    pub(crate) action: &'static str,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) enum Active {
    Same,
    Skewed,
    Uniform,
}

impl Active {
    /// By its letter in the report's keys.
    pub(crate) fn named(letter: &str) -> Option<Active> {
        match letter {
            "A" => Some(Active::Same),
            "S" => Some(Active::Skewed),
            "U" => Some(Active::Uniform),
            _ => None,
        }
    }
}

impl Workload {
    pub(crate) fn new(rules: usize) -> Workload {
        match rules {
            0..1_000 => Workload { rules, tenants: 1, roles: rules.div_ceil(10) },
            _ => Workload { rules, tenants: rules / 1_000, roles: 100 },
        }
    }

    /// How many counters all requests together may touch: a tenant's and two per subject.
    pub(crate) fn counters(&self) -> usize {
        self.tenants * (2 * SUBJECTS + 1)
    }

    fn roles_of(&self, subject: usize) -> impl Iterator<Item = usize> {
        let roles = self.roles;
        (0..roles.min(3)).map(move |k| (subject * 7 + k * 31) % roles)
    }

    /// Every rule of every tenant.
    pub(crate) fn rules_of_all(&self) -> impl Iterator<Item = Rule> {
        let (own, roles) = (self.rules / self.tenants, self.roles);
        (0..self.tenants).flat_map(move |tenant| {
            let in_role = move |role: usize| own.saturating_sub(role * 10).min(10);
            (0..roles).flat_map(move |role| {
                (0..in_role(role)).map(move |number| Rule {
                    tenant,
                    role,
                    number,
                    action: Workload::action(role, number),
                    allow: (role * 10 + number) % 20 != 19,
                })
            })
        })
    }

    /// Every subject of every tenant with its roles.
    pub(crate) fn members(
        &self,
    ) -> impl Iterator<Item = (usize, usize, impl Iterator<Item = usize>)> {
        let everybody = (0..self.tenants).flat_map(|t| (0..SUBJECTS).map(move |s| (t, s)));
        everybody.map(|(tenant, subject)| (tenant, subject, self.roles_of(subject)))
    }

    fn action(role: usize, rule: usize) -> &'static str {
        ACTIONS[(role + rule) % ACTIONS.len()]
    }

    /// policy.csv.
    pub(crate) fn policy(&self) -> String {
        let mut text = String::new();
        for Rule { tenant, role, number, action, allow } in self.rules_of_all() {
            let effect = if allow { "allow" } else { "deny" };
            text.push_str(&format!(
                "p, role{role}, t{tenant}, /api/s{role}/r{number}/:id, {action}, {effect}\n"
            ));
        }
        for (tenant, subject, roles) in self.members() {
            for role in roles {
                text.push_str(&format!("g, user{subject}, role{role}, t{tenant}\n"));
            }
        }
        text
    }

    /// Requests, about two in three to a resource of one of the subject's roles.
    pub(crate) fn requests(&self, active: Active, count: usize, seed: u64) -> Vec<Ask> {
        let mut random = fastrand::Rng::with_seed(seed);
        let everybody = self.tenants * SUBJECTS;
        (0..count)
            .map(|_| {
                let index = match active {
                    Active::Same => random.usize(..SUBJECTS),
                    Active::Skewed if random.u8(..10) != 0 => random.usize(..everybody / 50) * 50,
                    Active::Skewed | Active::Uniform => random.usize(..everybody),
                };
                let (tenant, subject) = (index / SUBJECTS, index % SUBJECTS);
                let roles: Vec<usize> = self.roles_of(subject).collect();
                let rule = random.usize(..10);
                let role = match random.u8(..3) {
                    0 => random.usize(..self.roles),
                    _ => roles[random.usize(..roles.len())],
                };
                Ask {
                    tenant: format!("t{tenant}"),
                    subject: format!("user{subject}"),
                    resource: format!("/api/s{role}/r{rule}/{}", random.u16(..)),
                    action: Workload::action(role, rule),
                }
            })
            .collect()
    }
}
