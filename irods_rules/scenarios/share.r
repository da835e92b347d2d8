# irule -F share.r "*path='/...'": what a user could try instead of ichmod.
main {
    msiSetACL("default", "read", "public", *path);
}
INPUT *path=''
OUTPUT ruleExecOut
