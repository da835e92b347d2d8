-- Cohorts leave out the few studies that are not verified, instead of joining all that are.
CREATE INDEX cohort_study_unverified ON pacsgrid.cohort_study (id) WHERE NOT verified;
