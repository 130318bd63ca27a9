-- whose bag it is, so that lists can be limited to one site before they are paged
ALTER TABLE evidence_bag ADD COLUMN site TEXT NOT NULL DEFAULT '';
UPDATE evidence_bag SET site = COALESCE((SELECT site FROM asset_host WHERE asset_host.id = evidence_bag.host), '');
CREATE INDEX evidence_bag_site ON evidence_bag (site, opened_at);
