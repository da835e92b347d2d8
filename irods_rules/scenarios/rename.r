# irule -F rename.r "*path='/...'" "*to='/...'": what a user could try instead of imv.
main {
    *status = errorcode(msiDataObjRename(*path, *to, "0", *out));
    if (*status < 0) {
        failmsg(*status, "not renamed");
    }
}
INPUT *path='', *to=''
OUTPUT ruleExecOut
