//! Links that came and went since a policy was loaded: themselves, and the closures that they touch, made again.

use crate::bounds::CHANGED_MEMBERS_MAX;
use crate::model::RoleDefinition;
use crate::policy::change::{Change, Moved};
use crate::policy::roles::graph::breadth_first;
use crate::policy::roles::{Link, Roles};
use crate::text::Texts;
use std::collections::{BTreeMap, BTreeSet};

/// A graph and a name in it.
type Place = (u16, u32, u32);

#[derive(Debug, Clone, Default)]
pub(super) struct ChangedLinks {
    /// Sorted, as those that were loaded.
    added: Vec<Link>,
    removed: Vec<Link>,
    closures: BTreeMap<Place, Vec<u32>>,
    moved: Moved,
}

impl ChangedLinks {
    /// A loaded link with the line where it stands now, unless it went.
    pub(super) fn kept(&self, link: Link) -> Option<Link> {
        (!self.removed.contains(&link)).then(|| Link { line: self.moved.line(link.line), ..link })
    }

    /// Links of a name that came.
    pub(super) fn added_at(&self, wanted: Place) -> impl Iterator<Item = Link> {
        self.added.iter().copied().filter(move |link| link.place() == wanted)
    }

    /// What a name reaches, if links that changed touch it; nothing if no link of its own is left.
    pub(super) fn closure(&self, place: &Place) -> Option<&[u32]> {
        self.closures.get(place).map(Vec::as_slice)
    }

    pub(super) fn closures(&self) -> impl Iterator<Item = (Place, &[u32])> {
        let all = self.closures.iter().filter(|(_, reached)| !reached.is_empty());
        all.map(|(place, reached)| (*place, reached.as_slice()))
    }
}

impl Roles {
    /// Whether links came or went since the policy was loaded.
    pub(crate) fn has_changed(&self) -> bool {
        let changed = |links: &ChangedLinks| !(links.added.is_empty() && links.removed.is_empty());
        self.changed.as_deref().is_some_and(changed)
    }

    /// The same roles with the links of a change. `None` if they write patterns, touch too many names, or are such that
    /// loading would refuse them.
    pub(crate) fn changed(
        &self,
        change: &Change<'_>,
        definitions: &[RoleDefinition],
        texts: &mut Texts,
    ) -> Option<Roles> {
        let mut changed = ChangedLinks { moved: change.moved, ..ChangedLinks::default() };
        let lists = change.removed.links.iter().zip(&change.added.links);
        for (definition, (role, (removed, added))) in definitions.iter().zip(lists).enumerate() {
            let has_patterns = role.name_pattern.is_some() || role.domain_pattern.is_some();
            if has_patterns && !(removed.is_empty() && added.is_empty()) {
                return None;
            }
            let definition = u16::try_from(definition).ok()?;
            for row in removed {
                let link = self.loaded.link(definition, role, row, texts)?.ok()?;
                let is_it = |known: &&Link| **known == link;
                changed.removed.push(*self.loaded.links_at(link.place()).find(is_it)?);
            }
            for row in added {
                changed.added.push(self.loaded.link(definition, role, row, texts)?.ok()?);
            }
        }
        changed.added.sort_unstable();
        let mut roles = Roles { changed: Some(Box::new(changed)), ..self.clone() };
        let closures = roles.closures_made_again()?;
        roles.changed.as_mut()?.closures = closures;
        Some(roles)
    }

    /// The closures of every name that reaches one whose links changed.
    fn closures_made_again(&self) -> Option<BTreeMap<Place, Vec<u32>>> {
        let changed = self.changed.as_deref()?;
        let is_double = |link: &Link| {
            let same = |known: &Link| (known.role, known.time) == (link.role, link.time);
            self.links_at(link.place()).filter(same).count() > 1
        };
        if changed.added.iter().any(is_double) {
            return None;
        }
        let links = changed.added.iter().chain(&changed.removed);
        let mut touched: BTreeSet<Place> = links.map(Link::place).collect();
        self.add_those_who_reach(&mut touched);
        if touched.len() > CHANGED_MEMBERS_MAX {
            return None;
        }
        let again = |place: Place| {
            let (definition, domain, name) = place;
            let roles_of = |member| self.links_at((definition, domain, member)).map(|l| l.role);
            let (mut reached, is_all) = breadth_first(name, roles_of).ok()?;
            if self.links_at(place).next().is_none() {
                reached.clear();
            }
            reached.sort_unstable();
            is_all.then_some((place, reached))
        };
        touched.into_iter().map(again).collect()
    }

    /// Adds the names that reach one of the places, as far as they were loaded: who reaches one by a link that came
    /// reaches the name of that link, too.
    fn add_those_who_reach(&self, places: &mut BTreeSet<Place>) {
        let names: Vec<u32> = places.iter().map(|(_, _, name)| *name).collect();
        let found = self.loaded.reached.iter().filter(|id| names.contains(id)).count();
        let own = places.iter().filter(|place| self.loaded.closure(**place).is_some()).count();
        if found == own {
            return;
        }
        let reaches = |(definition, domain, name): &Place, reached: &[u32]| {
            let here = |name: &&u32| places.contains(&(*definition, *domain, **name));
            places.contains(&(*definition, *domain, *name)) || reached.iter().any(|id| here(&id))
        };
        let all = self.loaded.closures.iter();
        let theirs: Vec<Place> = all
            .filter(|(place, range)| reaches(place, self.loaded.range(**range)))
            .map(|(place, _)| *place)
            .collect();
        places.extend(theirs);
    }
}
