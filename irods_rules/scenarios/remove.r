# irule -F remove.r "*path='/...'": what a user could try instead of irm.
main {
    *status = errorcode(msiDataObjUnlink("objPath=*path++++forceFlag=", *out));
    if (*status < 0) {
        failmsg(*status, "not removed");
    }
}
INPUT *path=''
OUTPUT ruleExecOut
