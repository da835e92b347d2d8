# irule -F create.r "*path='/...'": what a user could try instead of iput.
main {
    *status = errorcode(msiDataObjCreate(*path, "forceFlag=", *descriptor));
    if (*status < 0) {
        failmsg(*status, "not made");
    }
    msiDataObjClose(*descriptor, *out);
}
INPUT *path=''
OUTPUT ruleExecOut
