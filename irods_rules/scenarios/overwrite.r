# irule -F overwrite.r "*path='/...'": what a user could try instead of iput -f.
main {
    *status = errorcode(msiDataObjOpen("objPath=*path++++openFlags=O_RDWR", *descriptor));
    if (*status < 0) {
        failmsg(*status, "not opened");
    }
    msiDataObjWrite(*descriptor, "other", *written);
    msiDataObjClose(*descriptor, *out);
}
INPUT *path=''
OUTPUT ruleExecOut
