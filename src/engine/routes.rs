//! Which backends are asked for a number, and the caller id that they show.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backend::NamedBackend;
use crate::call::{Country, PhoneNumber};
use crate::config::Config;

/// The routes of a configuration. A backend is its index in the list of those in use.
pub(crate) struct Routes {
    by_country: HashMap<Country, Arc<Route>>,
    /// For the numbers of all other countries, and of none.
    others: Arc<Route>,
}

/// A route.
pub(super) struct Route {
    /// The backends, in the order in which they are asked.
    pub(super) order: Box<[usize]>,
    /// The caller id in E.164. `None`: that of the backend.
    caller_id: Option<Arc<str>>,
}

impl Routes {
    /// Returns the routes of a configuration for its backends in use.
    pub(crate) fn of(config: &Config, backends: &[NamedBackend]) -> Self {
        let index = |name: &String| backends.iter().position(|backend| *backend.name == **name);
        let route = |order: &[String], caller_id: Option<&str>| {
            Arc::new(Route { order: order.iter().filter_map(index).collect(), caller_id: caller_id.map(Arc::from) })
        };
        let mut by_country = HashMap::new();
        for of_route in &config.routes {
            let shared = route(&of_route.backend_order, of_route.caller_id.as_deref());
            let countries = of_route.countries.iter().filter_map(|code| Country::parse(code));
            by_country.extend(countries.map(|country| (country, Arc::clone(&shared))));
        }
        Self { by_country, others: route(&config.backend_order, None) }
    }

    /// Returns the route of a number.
    pub(super) fn of_number(&self, number: &PhoneNumber) -> &Route {
        number.country().and_then(|country| self.by_country.get(country)).unwrap_or(&self.others)
    }

    /// Returns the caller id of a number's route.
    pub(super) fn caller_id(&self, number: &PhoneNumber) -> Option<Arc<str>> {
        self.of_number(number).caller_id.clone()
    }
}
