//! Which collections are read, and of which deployments.

use crate::op::{Cluster, Namespace};

/// What is to be read of the reads of a plan, which says nothing of deployments.
#[derive(Debug, Clone, Default)]
pub(super) struct Meant(Vec<(Namespace, Option<Cluster>)>);

impl Meant {
    /// Of every deployment, also of those that join later.
    pub(super) fn add_everywhere(&mut self, namespace: &Namespace) {
        self.0.retain(|(known, _)| known != namespace);
        self.0.push((namespace.clone(), None));
    }

    /// Of that deployment.
    pub(super) fn add(&mut self, namespace: &Namespace, cluster: &Cluster) {
        if !self.includes(namespace, cluster) {
            self.0.push((namespace.clone(), Some(cluster.clone())));
        }
    }

    pub(super) fn includes(&self, namespace: &Namespace, cluster: &Cluster) -> bool {
        let is_it = |of: &Option<Cluster>| of.as_ref().is_none_or(|of| of.is_same(cluster));
        let mut meant = self.0.iter();
        meant.any(|(known, of)| known == namespace && is_it(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_meant_of_one_deployment_or_of_all() {
        let [eu, us] = ["eu", "us"].map(|name| Cluster::new(name, None));
        let [orders, users] = ["shop.orders", "shop.users"].map(|name| name.parse().unwrap());
        let mut meant = Meant::default();
        meant.add(&orders, &eu);
        meant.add(&users, &us);
        meant.add_everywhere(&users);
        let includes = [(&orders, &eu), (&orders, &us), (&users, &eu), (&users, &us)]
            .map(|(namespace, cluster)| meant.includes(namespace, cluster));
        assert_eq!(includes, [true, false, true, true]);
        // It stays so.
        meant.add(&users, &eu);
        assert!(meant.includes(&users, &us));
    }
}
