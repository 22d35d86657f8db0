package status
import ("testing";"net";"os";"time";"context";"strings")
func TestPreview(t *testing.T){
 addr:=os.Getenv("PREVIEW"); if addr=="" {t.Skip()}
 p:=newPlant(time.Now())
 if os.Getenv("MODE")=="hostile" { for id,a:=range p.alarms { a.Text="\u202e<script>alert(1)</script> "+strings.Repeat("W",120); p.alarms[id]=a } }
 if os.Getenv("MODE")=="quiet" { p.status.Devices=p.status.Devices[:1]; p.status.Alarms.Unacked=0;p.status.Alarms.Active=0; clear(p.alarms); p.status.Providers=p.status.Providers[1:]; p.status.Upstreams=nil }
 s:=New(Options{Source:p,Actions:p})
 l,err:=net.Listen("tcp",addr); if err!=nil {t.Fatal(err)}
 go func(){ for { time.Sleep(time.Second); s.Changed("tag","filler") } }()
 ctx,c:=context.WithTimeout(context.Background(),20*time.Minute); defer c()
 s.Serve(ctx,l)
}
