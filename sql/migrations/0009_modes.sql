-- How far a run was allowed to go. What a run that observes counts is what it would have done.

ALTER TABLE runs ADD COLUMN mode text NOT NULL DEFAULT 'full';
ALTER TABLE runs ADD CONSTRAINT runs_mode_known CHECK (mode IN ('observe', 'limited', 'full'));
COMMENT ON COLUMN runs.mode IS 'observe: without effect · limited: so many effects at most · full.';
