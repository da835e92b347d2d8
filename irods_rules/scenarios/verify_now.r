# irule -F verify_now.r: one verification of everything, its findings in the server's log.
main {
    pacsgrid_verify();
    writeLine("stdout", "pacsgrid: verified");
}
INPUT null
OUTPUT ruleExecOut
