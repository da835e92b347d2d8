# irule -F nightly.r "*resource='second'": the delayed rules for a site that wants them.
main {
    delay("<INST_NAME>irods_rule_engine_plugin-irods_rule_language-instance</INST_NAME><PLUSET>60s</PLUSET><EF>24h REPEAT FOR EVER</EF>") {
        pacsgrid_replicate(*resource);
        pacsgrid_verify();
    }
    writeLine("stdout", "pacsgrid: replication to *resource and verification every 24 hours");
}
INPUT *resource='demoResc'
OUTPUT ruleExecOut
