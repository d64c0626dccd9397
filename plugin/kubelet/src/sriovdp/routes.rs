//! Which interfaces carry the machine's own traffic: those with a default route.

use ringway_kernel::link::{DefaultRoute, Links};
use ringway_kernel::{Error, Root, sysfs};

/// The interfaces and default routes of this process's network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// Names and numbers of all interfaces.
    pub links: Vec<(String, u32)>,
    /// Default routes.
    pub routes: Vec<DefaultRoute>,
    /// Why they could not be read.
    pub problem: Option<String>,
}

/// Whether interfaces carry the machine's own traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// No default route goes by them.
    No,
    /// A default route goes by one.
    DefaultRoute,
    /// This process sees other interfaces than sysfs shows: it is not in the machine's namespace.
    Unknown,
}

impl Routes {
    /// Reads them. What goes wrong makes every interface's use unknown.
    pub fn read() -> Self {
        Self::with(|links| {
            Ok(links.list()?.into_iter().map(|link| (link.name, link.index)).collect())
        })
    }

    /// As [`Self::read`], as far as these interfaces are concerned: nothing is asked where there are none.
    pub fn of(names: &[String]) -> Self {
        if names.is_empty() {
            return Self::default();
        }
        Self::with(|links| {
            let mut known = Vec::new();
            for name in names {
                match links.by_name(name) {
                    Ok(link) => known.push((link.name, link.index)),
                    // in another namespace than sysfs shows
                    Err(error) if error.is_missing() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(known)
        })
    }

    fn with(known: impl FnOnce(&mut Links) -> Result<Vec<(String, u32)>, Error>) -> Self {
        let read = || -> Result<Self, Error> {
            let mut links = Links::open()?;
            let routes = links.default_routes()?;
            Ok(Self { links: known(&mut links)?, routes, problem: None })
        };
        read().unwrap_or_else(|e| Self { problem: Some(e.to_string()), ..Self::default() })
    }

    /// Whether one of these interfaces, which sysfs shows, carries the machine's traffic.
    ///
    /// # Errors
    /// sysfs has no sensible number for one of them.
    pub fn carries(&self, root: &Root, netdevs: &[String]) -> Result<Carries, Error> {
        let mut carries = Carries::No;
        for name in netdevs {
            let path = root.sys().join("class/net").join(name).join("ifindex");
            let Some(index) = sysfs::read_number_optional::<u32>(&path)? else { continue };
            // A namespace of its own has other interfaces under the same numbers.
            if !self.links.contains(&(name.clone(), index)) {
                carries = Carries::Unknown;
            } else if self.routes.iter().any(|route| route.index.is_none_or(|by| by == index)) {
                return Ok(Carries::DefaultRoute);
            }
        }
        Ok(carries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_kernel::testing::Tree;

    #[test]
    fn a_default_route_is_found_by_name_and_number() {
        let tree = Tree::new("0000:01:00.0 igb net=eth0\n0000:02:00.0 igb net=eth1");
        for (name, index) in [("eth0", 2), ("eth1", 3)] {
            tree.write(&format!("sys/class/net/{name}/ifindex"), &format!("{index}\n"));
        }
        let route = |index| DefaultRoute { index, table: 254 };
        let links = vec![("eth0".to_owned(), 2), ("eth1".to_owned(), 7)];
        let routes = |routes| Routes { links: links.clone(), routes, problem: None };
        let carries = |routes: &Routes, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            routes.carries(&tree.root(), &names).unwrap()
        };
        let two = routes(vec![route(Some(2))]);
        assert_eq!(carries(&two, &["eth0"]), Carries::DefaultRoute);
        assert_eq!(carries(&two, &[]), Carries::No);
        // another interface has its name here
        assert_eq!(carries(&two, &["eth1"]), Carries::Unknown);
        assert_eq!(carries(&two, &["eth1", "eth0"]), Carries::DefaultRoute);
        assert_eq!(carries(&routes(vec![route(Some(3))]), &["eth0"]), Carries::No);
        // a next hop object that does not tell its link may be any
        assert_eq!(carries(&routes(vec![route(None)]), &["eth0"]), Carries::DefaultRoute);
        assert_eq!(carries(&Routes::default(), &["eth0"]), Carries::Unknown);
    }
}
