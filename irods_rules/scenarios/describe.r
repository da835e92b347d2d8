# irule -F describe.r "*path='/...'": what a user could try instead of imeta.
main {
    msiAddKeyVal(*pairs, "tried", "by a rule");
    msiAssociateKeyValuePairsToObj(*pairs, *path, "-d");
}
INPUT *path=''
OUTPUT ruleExecOut
